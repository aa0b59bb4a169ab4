"""A stored value as people look at it: what it came from, down to the bytes, and which code made it."""

from dataclasses import dataclass
from typing import Any

from flows.catalog import Catalog
from flows.process import stores
from infra.settings import Settings
from tasks.contract import Contract
from tasks.look.row_key import read_key
from tasks.look.trace import Trace, trace, trace_aggregate, with_column
from tasks.transform.robot_item import item_of
from tasks.transform.robot_pages import is_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A row's trace, the value that was asked for, and who the row is about."""

    trace: Trace
    column: str | None
    value: Any
    subject: tuple[str, str] | None  # kind, identity
    record: bytes | None = None  # the row's own part of a message that holds several


async def traced(
    settings: Settings, catalog: Catalog, table: str, key: str, column: str | None, page: int
) -> Traced:
    """Trace one row of a published table; raises NotFoundError, or RejectedError for a key that is none."""
    contract = catalog.contract(table)
    wanted = read_key(contract, key)
    aggregate = catalog.derived.get(table)
    async with stores.open_store(settings, "trace") as store:
        if aggregate is None:
            found = await trace(store.pool, contract, wanted)
        else:
            sources = list(aggregate.made_from.values())
            found = await trace_aggregate(store.pool, aggregate, sources, wanted, page)
    value = with_column(found, column)
    subject = _subject(catalog, contract, found)
    return Traced(trace=found, column=column, value=value, subject=subject, record=_record(found))


def _record(found: Trace) -> bytes | None:
    """The row's own item of a page of a robot's answer, as it stands there."""
    message, part = found.message, found.part
    if message is None or message.payload is None or part is None or part < 0:
        return None
    return item_of(message.payload, part) if is_page(message.location) else None


def _subject(catalog: Catalog, contract: Contract, found: Trace) -> tuple[str, str] | None:
    """The device or experiment a row is about; an aggregate's row is about its sources'."""
    abouts = [table.about for one in catalog.pipelines.values() for table in one.tables if table.about]
    for about in abouts:
        if about.column in contract.key:
            return about.kind, str(found.row[about.column])
    return None
