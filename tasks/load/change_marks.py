"""Change marks: which buckets of which derived tables a batch changed.

A commit leaves a mark per (reader, bucket, batch) in its own transaction, for the readers of its tables
(`mark_readers.py`); a refresh takes those it sees. A mark that is committed later stays for the next refresh.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from lineage import query_files
from lineage.bucket import FIRST_SQL
from lineage.ports import Connection
from tasks.contract import Contract

# One statement, whoever reads: a table that nothing is made from has no reader, and leaves no mark.
_MARK = query_files.read(__package__, "mark.sql")
_WAITING = """
SELECT DISTINCT bucket FROM store.change_marks WHERE reader = $1 AND bucket > $2 ORDER BY bucket LIMIT $3
"""
_TAKE = """
DELETE FROM store.change_marks WHERE reader = $1 AND bucket = ANY($2::timestamptz[])
RETURNING table_name, bucket, batch
"""
_PENDING = (
    "SELECT EXISTS (SELECT FROM store.change_marks WHERE reader = $1 AND bucket = $2 AND table_name = $3)"
)

AT: Final = "1m"
"""To what times are cut before they are told: the shortest bucket, as Polars writes it."""


class Mark(NamedTuple):
    """A batch of a table changed a bucket."""

    table: str
    bucket: datetime
    batch: int


async def mark(connection: Connection, table: str, changed: str, *values: object) -> None:
    """Mark what a relation `changed` (SQL, its parameters from $2) with the columns at and batch says.

    The transaction must hold the table as whoever writes to it does: `mark_readers.hold`.
    """
    await connection.execute(_MARK.format(first=FIRST_SQL, changed=changed), table, *values)


async def mark_rows(connection: Connection, contract: Contract, rows: pl.DataFrame) -> None:
    """Mark what stored rows changed (the contract's time and `batch`, n); nothing for a reference table."""
    if contract.is_reference:
        return
    changed = rows.select(pl.col(contract.time_column).dt.truncate(AT).alias("at"), "batch").unique()
    await mark_times(connection, contract.table, changed["at"].to_list(), changed["batch"].to_list())


async def mark_times(
    connection: Connection, table: str, times: Sequence[datetime], batches: Sequence[int]
) -> None:
    """Mark what changed at these times, each by the batch (n)."""
    relation = "unnest($2::timestamptz[], $3::bigint[]) AS changed(at, batch)"
    await mark(connection, table, relation, list(times), list(batches))


async def waiting(connection: Connection, reader: str, after: datetime, limit: int) -> list[datetime]:
    """The next buckets, later than `after`, that have a mark."""
    return [row["bucket"] for row in await connection.fetch(_WAITING, reader, after, limit)]


async def take(connection: Connection, reader: str, buckets: Sequence[datetime]) -> list[Mark]:
    """Remove the marks of these buckets that the transaction sees; returns them."""
    return [Mark(*row) for row in await connection.fetch(_TAKE, reader, list(buckets))]


async def pending(connection: Connection, reader: str, bucket: datetime, table: str) -> bool:
    """Whether the bucket waits to be made again because of this table."""
    found: bool = await connection.fetchval(_PENDING, reader, bucket, table)
    return found
