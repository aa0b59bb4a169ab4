"""Which rows an aggregate's row was made from: those of its bucket that share its key.

A device's hour is made from the device's readings of that hour; a run's summary from the run and its steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from lineage.identifiers import column_of, listed, published_view, stored_table
from lineage.ports import Connection
from tasks.contract import Contract
from tasks.derived.aggregate import Aggregate
from tasks.load.change_marks import pending
from tasks.look.origin import Message, messages_of
from tasks.look.row_key import Key
from tasks.tables.tables import has_history, in_quarantine

PAGE = 100
"""Rows of one table on a page."""
_PLACE = ", coalesce(raw_batch, batch) AS raw_batch, sequence, part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows of one table that an aggregate's row was made from, a page of them."""

    table: str
    total: int
    page: int
    pages: int
    rows: Sequence[Mapping[str, Any]]  # key, batch; raw_batch, sequence, part but of a derived table
    messages: Sequence[Message]  # of these rows, each once; a derived table has none
    changed_since: bool  # the bucket waits to be computed again


def shared_key(aggregate: Contract, source: Contract) -> tuple[str, ...]:
    """The key columns, but for the time, that a row of the source has in common with the aggregate's."""
    return tuple(name for name in aggregate.key if name != aggregate.time_column and name in source.key)


def rows_query(aggregate: Contract, source: Contract, relation: str | None = None) -> str:
    """FROM and WHERE of the source's rows `s` in a relation, unless one is given in its published view.

    The parameters are the bucket's start, its end, then the shared key.
    Rows in quarantine are no part of the published view, here as in the aggregate's SQL.
    """
    same = "".join(
        f" AND {column_of('s', name)} = ${n}" for n, name in enumerate(shared_key(aggregate, source), start=3)
    )
    time = column_of("s", source.time_column)
    return f"FROM {relation or published_view(source.table)} s WHERE {time} >= $1 AND {time} < $2{same}"


async def made_from(
    connection: Connection, aggregate: Aggregate, source: Contract, key: Key, page: int
) -> Part:
    """Page `page` (from 1) of the source's rows, in the order of their key, and their messages."""
    rows_of = rows_query(aggregate.contract, source)
    values = _values(aggregate.contract, source, key)
    start: datetime = values[0]
    total = await connection.fetchval(f"SELECT count(*) {rows_of}", *values)
    columns = listed(source.key, "s")
    found = await connection.fetch(
        f"SELECT {columns}, batch{_PLACE if has_history(source) else ''} {rows_of} "
        f"ORDER BY {columns} LIMIT {PAGE} OFFSET {(page - 1) * PAGE}",
        *values,
    )
    rows = [dict(row) for row in found]
    return Part(
        table=source.table,
        total=total,
        page=page,
        pages=-(-total // PAGE),
        rows=rows,
        messages=await _messages(connection, rows) if has_history(source) else (),
        changed_since=await pending(connection, aggregate.table, start, source.table),
    )


async def left_out(connection: Connection, aggregate: Contract, source: Contract, key: Key) -> int:
    """How many rows of the source the aggregate's row leaves out: they are in quarantine."""
    if not has_history(source):
        return 0
    rows_of = rows_query(aggregate, source, stored_table(source.table))
    query = f"SELECT count(*) {rows_of} AND {in_quarantine(source)}"
    return int(await connection.fetchval(query, *_values(aggregate, source, key)))


def _values(aggregate: Contract, source: Contract, key: Key) -> list[Any]:
    """The parameters of `rows_query`."""
    start = aggregate.made_by.start(key[aggregate.time_column])
    return [start, aggregate.made_by.end(start), *(key[name] for name in shared_key(aggregate, source))]


async def _messages(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Message]:
    places = [(row["raw_batch"], row["sequence"], row["part"]) for row in rows]
    places.sort(key=lambda place: (*place[:2], place[2] or 0))
    messages: list[Message] = []
    for raw_batch, group in groupby(places, key=lambda place: place[0]):
        messages += await messages_of(
            connection, raw_batch, [(sequence, part) for _, sequence, part in group]
        )
    return messages
