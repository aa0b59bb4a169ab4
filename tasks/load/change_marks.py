"""Change marks: which hours of which tables a batch changed, for the aggregates that are made from them.

A commit leaves a mark per (batch, hour) in its own transaction; a refresh takes those it sees. A mark that is
committed later stays for the next refresh.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl

from lineage.ports import Connection
from tasks.contract import Contract

_WAITING = """
SELECT DISTINCT hour FROM store.change_marks WHERE table_name = ANY($1) AND hour > $2 ORDER BY hour LIMIT $3
"""
_TAKE = """
DELETE FROM store.change_marks WHERE table_name = ANY($1) AND hour = ANY($2::timestamptz[])
RETURNING table_name, hour, batch
"""
_PENDING = "SELECT EXISTS (SELECT FROM store.change_marks WHERE table_name = $1 AND hour = $2)"


class Mark(NamedTuple):
    """A batch changed an hour of a table."""

    table: str
    hour: datetime
    batch: int


async def mark(connection: Connection, table: str, changed: str, *values: object) -> None:
    """Mark what a relation (SQL, its parameters from $2) with the columns hour and batch says."""
    await connection.execute(
        "INSERT INTO store.change_marks (table_name, hour, batch) "
        f"SELECT DISTINCT $1::text, hour, batch FROM {changed}",
        table,
        *values,
    )


async def mark_rows(connection: Connection, contract: Contract, rows: pl.DataFrame) -> None:
    """Mark the hours of stored rows (the contract's time and `batch`, n); a reference table has none."""
    if contract.is_reference:
        return
    changed = rows.select(pl.col(contract.time_column).dt.truncate("1h").alias("hour"), "batch").unique()
    relation = "unnest($2::timestamptz[], $3::bigint[]) AS changed(hour, batch)"
    values = changed["hour"].to_list(), changed["batch"].to_list()
    await mark(connection, contract.table, relation, *values)


async def waiting(
    connection: Connection, tables: Sequence[str], after: datetime, limit: int
) -> list[datetime]:
    """The next hours, later than `after`, that have a mark."""
    return [row["hour"] for row in await connection.fetch(_WAITING, list(tables), after, limit)]


async def take(connection: Connection, tables: Sequence[str], hours: Sequence[datetime]) -> list[Mark]:
    """Remove the marks of these hours that the transaction sees; returns them."""
    return [Mark(*row) for row in await connection.fetch(_TAKE, list(tables), list(hours))]


async def pending(connection: Connection, table: str, hour: datetime) -> bool:
    """Whether the hour waits to be computed again."""
    found: bool = await connection.fetchval(_PENDING, table, hour)
    return found
