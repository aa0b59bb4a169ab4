"""Refreshes the aggregates: the hours that changed since the last time, and no other."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from flows import stores
from flows.catalog import all_contracts
from infra.settings import Settings
from lineage.model import Run
from tasks.load.aggregate import load_aggregates
from tasks.load.refresh import Refreshed, refresh

log = structlog.get_logger(__name__)

NAME = "aggregates"


async def refresh_all(settings: Settings, run: Run, now: datetime) -> list[Refreshed]:
    """Refresh every aggregate; `now` becomes their `processed_at`.

    Raises UnavailableError when Postgres is away; what was committed by then stays, the rest keeps its marks.
    """
    await stores.prepare_tables(settings, all_contracts())
    done = []
    async with stores.open_store(settings, NAME) as store:
        for aggregate in load_aggregates():
            refreshed = await refresh(store, aggregate, run, now)
            log.info("refreshed", table=refreshed.table, hours=refreshed.hours, rows=refreshed.rows)
            done.append(refreshed)
    return done


def recomputed(hours: int) -> str:
    """What a refresh did, in one sentence."""
    return f"Recomputed {hours:,} {'hour' if hours == 1 else 'hours'}."


def table_of(done: Sequence[Refreshed]) -> str:
    """What was refreshed, as a Markdown table."""
    lines = [f"| `{one.table}` | {one.hours} | {one.rows} |" for one in done]
    return "\n".join(["| table | hours | rows |", "|---|---:|---:|", *lines])
