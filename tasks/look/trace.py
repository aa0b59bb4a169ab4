"""From a stored row to its bytes: `origin.py`, what stood there before, and whether it is in quarantine.

Every step is a look-up by primary key, and time is part of every key, so that one partition is read however
large the table is. An aggregate's row leads to the rows it was made from, by page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.postgres import Pool, translated
from lineage.errors import NotFoundError, RejectedError
from lineage.ports import Connection
from tasks.contract import Contract
from tasks.derived.aggregate import Aggregate
from tasks.look.made_from import Part, left_out, made_from
from tasks.look.origin import LedgerRow, Message, commit_of, find_row, message_of, row_query
from tasks.look.row_key import Key

_QUARANTINE = "SELECT r.act, r.reason, r.by_whom, r.at FROM ({found}) AS q JOIN store.recalls r USING (act)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A row that stood there before, and the batch that replaced it."""

    row: Mapping[str, Any]
    commit: LedgerRow
    replaced_by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A row and all that it came from. `message` for a row of messages, `made_from` for an aggregate's."""

    table: str
    key: Key
    row: Mapping[str, Any]
    commit: LedgerRow
    message: Message | None = None
    part: int | None = None  # which row of its message
    quarantine: Mapping[str, Any] | None = None  # act, reason, by_whom, at
    earlier: Sequence[Earlier] = ()  # the newest first
    made_from: Sequence[Part] = ()  # one per table


async def trace(pool: Pool, contract: Contract, key: Key) -> Trace:
    """A row of a table that is fed by messages; raises NotFoundError."""
    with translated():
        async with pool.acquire() as connection:
            row = await find_row(connection, contract, key)
            return Trace(
                table=contract.table,
                key=key,
                row=row,
                commit=await commit_of(connection, contract.table, row["batch"]),
                message=await message_of(
                    connection, row["raw_batch"] or row["batch"], (row["sequence"], row["part"])
                ),
                part=row["part"],
                quarantine=await _quarantine(connection, contract, key),
                earlier=await _earlier(connection, contract, key),
            )


async def trace_aggregate(
    pool: Pool, aggregate: Aggregate, sources: Sequence[Contract], key: Key, page: int
) -> Trace:
    """A row of an aggregate, and page `page` (from 1) of the rows it was made from with their messages."""
    contract = aggregate.contract
    with translated():
        async with pool.acquire() as connection:
            row = await _aggregate_row(connection, aggregate, sources, key)
            commit = await commit_of(connection, contract.table, row["batch"])
            parts = [await made_from(connection, aggregate, source, key, page) for source in sources]
    if page > (last := max([1, *(part.pages for part in parts)])):
        raise RejectedError(f"There is no page {page}: the rows it was made from end on page {last}.")
    return Trace(table=contract.table, key=key, row=row, commit=commit, made_from=parts)


async def _aggregate_row(
    connection: Connection, aggregate: Aggregate, sources: Sequence[Contract], key: Key
) -> Mapping[str, Any]:
    """The row; the NotFoundError says when what it would be made from is in quarantine."""
    try:
        return await find_row(connection, aggregate.contract, key)
    except NotFoundError as error:
        for source in sources:
            if rows := await left_out(connection, aggregate.contract, source, key):
                told = f"in quarantine is what it would be made from of {source.table} ({rows:,})"
                raise NotFoundError(f"{str(error).rstrip('.')}: {told}.") from error
        raise


def with_column(found: Trace, column: str | None) -> Any:
    """The value of a column of the row; None without one. Raises NotFoundError when it has no such column."""
    if column is not None and column not in found.row:
        raise NotFoundError(f"{found.table} has no column {column}: choose from {', '.join(found.row)}.")
    return found.row[column] if column else None


async def _quarantine(connection: Connection, contract: Contract, key: Key) -> Mapping[str, Any] | None:
    found = row_query(contract, f"{contract.table}_quarantine")
    row = await connection.fetchrow(_QUARANTINE.format(found=found), *key.values())
    return dict(row) if row else None


async def _earlier(connection: Connection, contract: Contract, key: Key) -> list[Earlier]:
    query = row_query(contract, f"{contract.table}_history") + " ORDER BY batch DESC"
    rows = [dict(row) for row in await connection.fetch(query, *key.values())]
    return [
        Earlier(
            row=row,
            commit=await commit_of(connection, contract.table, row["batch"]),
            replaced_by=row.pop("replaced_by"),
        )
        for row in rows
    ]
