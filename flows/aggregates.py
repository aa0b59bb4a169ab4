"""Refreshes the aggregates: the hours that changed since the last time, and no other."""

from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State

from flows import stores
from flows.catalog import Retry, all_contracts
from flows.runs import Schedule, current_run, measured, missed
from flows.steps import step
from infra.settings import Settings, load
from lineage.model import Run
from tasks.load.aggregate import load_aggregates
from tasks.load.refresh import Refreshed, refresh

log = structlog.get_logger(__name__)

NAME = "aggregates"
HOURLY = Schedule()


@flow(name=NAME, persist_result=False)
async def refresh_aggregates(schedule: Schedule = HOURLY) -> str | State[None]:
    """Refresh every aggregate; returns what became of them in one sentence."""
    if late := missed(schedule):
        return late
    with measured(NAME):
        done = await step("refresh", refresh_all, Retry())(load(), current_run(NAME), datetime.now(UTC))
        sentence = recomputed(sum(one.hours for one in done))
        await acreate_markdown_artifact(table_of(done), key="aggregates", description=sentence)
        return sentence


async def refresh_all(settings: Settings, run: Run, now: datetime) -> list[Refreshed]:
    """Refresh every aggregate, as a plain function; `now` becomes their `processed_at`.

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
