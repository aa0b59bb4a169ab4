"""Refreshes the derived tables: the buckets that changed since the last time, and no other."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from flows.catalog import Catalog
from flows.process import stores
from infra.postgres import Connection
from infra.settings import Settings
from lineage.counted import counted
from lineage.errors import ContractError, RejectedError
from lineage.model import Run
from tasks.derived.aggregate import Aggregate
from tasks.derived.mark_readers import register, retire
from tasks.derived.refresh import Refreshed, refresh
from tasks.load.store import Store

log = structlog.get_logger(__name__)

NAME = "aggregates"
STATEMENT, TRANSACTION = timedelta(minutes=10), timedelta(minutes=30)
"""How long they may take at least: a month of many rows is one statement."""


async def refresh_all(settings: Settings, catalog: Catalog, run: Run) -> list[Refreshed]:
    """Refresh every derived table, each after those that it is made from.

    One that is new is told of changes from here on, and filled from what is stored; one that left the catalog
    is told no more. Raises UnavailableError when Postgres is away; what was committed by then stays, the rest
    keeps its marks. Raises ContractError, once the others are refreshed, for those that cannot be.
    """
    contracts = catalog.contracts.values()
    ready = {contract.table for contract in await stores.prepare_each(settings, contracts)}
    done, failed = [], []
    async with (
        stores.open_store(_patient(settings), NAME) as store,
        stores.open_connection(settings, NAME, statement_timeout=timedelta(0)) as connection,
    ):
        await _retire(connection, catalog)
        for aggregate in catalog.derived.values():
            try:
                if lacking := {aggregate.table, *aggregate.sources} - ready:
                    raise ContractError(f"not prepared: {', '.join(sorted(lacking))}; the log says why")
                done.append(await _refresh(connection, store, aggregate, run))
            except RejectedError as error:
                log.exception("an aggregate is not refreshed", table=aggregate.table, reason=str(error))
                failed.append(f"{aggregate.table} ({error})")
    if failed:
        raise ContractError(f"Not refreshed: {'; '.join(failed)}. The others were.")
    return done


async def _refresh(connection: Connection, store: Store, aggregate: Aggregate, run: Run) -> Refreshed:
    if new := await register(connection, aggregate):
        log.info("made from all that is stored", table=aggregate.table, of=", ".join(new))
    refreshed = await refresh(store, aggregate, run)
    log.info("refreshed", table=refreshed.table, buckets=refreshed.buckets, rows=refreshed.rows)
    return refreshed


async def _retire(connection: Connection, catalog: Catalog) -> None:
    """Those that are broken, or may stand in a directory that cannot be read, come back as they were."""
    if any(each.kind == "directory" for each in catalog.broken):
        return
    standing = {*catalog.derived, *(each.name for each in catalog.broken if each.kind == "table")}
    try:
        for table in await retire(connection, standing):
            log.warning("a derived table left the catalog: it is not made again", table=table)
    except ContractError as error:
        log.warning("a derived table left the catalog", reason=str(error))


def _patient(settings: Settings) -> Settings:
    least = {
        "statement_timeout": max(settings.statement_timeout, STATEMENT),
        "commit_timeout": max(settings.commit_timeout, TRANSACTION),
    }
    return settings.model_copy(update=least)


def recomputed(buckets: int) -> str:
    """What a refresh did, in one sentence."""
    return f"Recomputed {counted(buckets, 'bucket')}."


def table_of(done: Sequence[Refreshed]) -> str:
    """What was refreshed, as a Markdown table."""
    lines = [f"| `{one.table}` | {one.buckets} | {one.rows} |" for one in done]
    return "\n".join(["| table | buckets | rows |", "|---|---:|---:|", *lines])
