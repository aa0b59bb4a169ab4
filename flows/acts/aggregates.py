"""Refreshes the aggregates: the hours that changed since the last time, and no other."""

from collections.abc import Sequence

import structlog

from flows.catalog import Catalog
from flows.process import stores
from infra.settings import Settings
from lineage.errors import ContractError, RejectedError
from lineage.model import Run
from tasks.derived.refresh import Refreshed, refresh

log = structlog.get_logger(__name__)

NAME = "aggregates"


async def refresh_all(settings: Settings, catalog: Catalog, run: Run) -> list[Refreshed]:
    """Refresh every aggregate.

    Raises UnavailableError when Postgres is away; what was committed by then stays, the rest keeps its marks.
    Raises ContractError, once the others are refreshed, for those that cannot be.
    """
    contracts = catalog.contracts.values()
    ready = {contract.table for contract in await stores.prepare_each(settings, contracts)}
    done, failed = [], []
    async with stores.open_store(settings, NAME) as store:
        for aggregate in catalog.derived.values():
            try:
                if lacking := {aggregate.table, *aggregate.sources} - ready:
                    raise ContractError(f"not prepared: {', '.join(sorted(lacking))}; the log says why")
                refreshed = await refresh(store, aggregate, run)
            except RejectedError as error:
                log.exception("an aggregate is not refreshed", table=aggregate.table, reason=str(error))
                failed.append(f"{aggregate.table} ({error})")
                continue
            log.info("refreshed", table=refreshed.table, hours=refreshed.hours, rows=refreshed.rows)
            done.append(refreshed)
    if failed:
        raise ContractError(f"Not refreshed: {'; '.join(failed)}. The others were.")
    return done


def recomputed(hours: int) -> str:
    """What a refresh did, in one sentence."""
    return f"Recomputed {hours:,} {'hour' if hours == 1 else 'hours'}."


def table_of(done: Sequence[Refreshed]) -> str:
    """What was refreshed, as a Markdown table."""
    lines = [f"| `{one.table}` | {one.hours} | {one.rows} |" for one in done]
    return "\n".join(["| table | hours | rows |", "|---|---:|---:|", *lines])
