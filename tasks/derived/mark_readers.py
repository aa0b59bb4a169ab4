"""Who is told of changes: each derived table, of the tables that it is made from.

    registered ─▶ every commit from now on marks for it ─▶ filled: what was stored is marked ─▶ refreshed

No commit slips by: who marks a table holds it (ROW EXCLUSIVE, as every write to it does) until it ends, and
registering holds it against them and against others (SHARE ROW EXCLUSIVE). So a commit that is open then
is waited for, and its rows are among what is stored; one that begins later finds the reader. To fill takes no
lock.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta

from infra.postgres import LockNotAvailable
from lineage import query_files
from lineage.errors import ContractError
from lineage.identifiers import quoted, stored_table
from lineage.ports import Connection
from tasks.contract import Contract
from tasks.derived.aggregate import Aggregate
from tasks.tables.tables import has_history

PATIENCE = timedelta(seconds=5)
"""How long registering waits for a table; commits that come meanwhile wait behind it."""

_FILLED = """
SELECT table_name FROM store.mark_readers WHERE reader = $1 AND bucket = $2 AND filled_at IS NOT NULL
"""
_OTHERS = """
SELECT reader, table_name FROM store.mark_readers
WHERE reader = $1 AND table_name <> ALL ($2::text[]) ORDER BY table_name
"""
_ALL_OTHERS = (
    "SELECT reader, table_name FROM store.mark_readers WHERE reader <> ALL ($1::text[]) ORDER BY 1, 2"
)
_BUCKET = "SELECT bucket FROM store.mark_readers WHERE reader = $1 AND table_name = $2"
_FORGET_MARKS = "DELETE FROM store.change_marks WHERE reader = $1 AND table_name = $2"
_FORGET = "DELETE FROM store.mark_readers WHERE reader = $1 AND table_name = $2"
_REGISTER = "INSERT INTO store.mark_readers (reader, table_name, bucket) VALUES ($1, $2, $3)"
_UNFILLED = """
SELECT FROM store.mark_readers WHERE reader = $1 AND table_name = $2 AND filled_at IS NULL FOR UPDATE
"""
_IS_FILLED = """
UPDATE store.mark_readers SET filled_at = clock_timestamp() WHERE reader = $1 AND table_name = $2
"""
_FILL = """
INSERT INTO store.change_marks (reader, table_name, bucket, batch)
SELECT DISTINCT $1::text, $2::text, bucket, batch FROM ({stored}) stored
"""
# What replaced rows leave: a bucket that was made once, and that has no row any more, is made again too.
_ROWS = query_files.read(__package__, "buckets_of_rows.sql")
_OUTPUTS = query_files.read(__package__, "buckets_of_outputs.sql")


async def hold(connection: Connection, table: str) -> None:
    """Hold a stored table as whoever writes to it does, until the transaction ends.

    It takes no snapshot: as the first statement of a transaction, what that sees is of after it was had.
    """
    await connection.execute(f"LOCK TABLE ONLY {stored_table(table)} IN ROW EXCLUSIVE MODE")


async def register(connection: Connection, aggregate: Aggregate) -> Sequence[str]:
    """Have a derived table told of what changes in its tables, and of all that is stored in those it was not
    told of; returns these.

    Done again it changes nothing. `connection`: outside a transaction, and without a timeout, for all that is
    stored is read. Raises ContractError when a table is held by others for longer than PATIENCE.
    """
    for row in await connection.fetch(_OTHERS, aggregate.table, list(aggregate.sources)):
        await _forget(connection, row["reader"], row["table_name"])
    rows = await connection.fetch(_FILLED, aggregate.table, aggregate.bucket.value)
    told = {row["table_name"] for row in rows}
    new = [source for source in aggregate.sources if source not in told]
    for source in new:
        await _enter(connection, aggregate, source)
        await _fill(connection, aggregate, source)
    return new


async def retire(connection: Connection, standing: Collection[str]) -> Sequence[str]:
    """Tell nothing any more to derived tables that are none of those that stand; returns their names."""
    rows = await connection.fetch(_ALL_OTHERS, list(standing))
    for row in rows:
        await _forget(connection, row["reader"], row["table_name"])
    return sorted({row["reader"] for row in rows})


async def _enter(connection: Connection, aggregate: Aggregate, source: str) -> None:
    """Once no commit to the source is open. One that was entered and not filled is so still."""
    async with connection.transaction():
        await _against_commits(connection, source, f"{aggregate.table} is not told of its changes yet")
        bucket = await connection.fetchval(_BUCKET, aggregate.table, source)
        if bucket == aggregate.bucket:
            return
        await connection.execute(_FORGET_MARKS, aggregate.table, source)
        await connection.execute(_FORGET, aggregate.table, source)
        await connection.execute(_REGISTER, aggregate.table, source, aggregate.bucket.value)


async def _fill(connection: Connection, aggregate: Aggregate, source: str) -> None:
    """Mark all that is stored; whoever does so at the same time is waited for."""
    async with connection.transaction():
        if await connection.fetchrow(_UNFILLED, aggregate.table, source) is None:
            return
        stored = _stored(aggregate, aggregate.made_from[source])
        await connection.execute(_FILL.format(stored=stored), aggregate.table, source)
        await connection.execute(_IS_FILLED, aggregate.table, source)


def _stored(aggregate: Aggregate, source: Contract) -> str:
    """A query of the buckets of the derived table, and the batches of the source in them."""
    if not has_history(source):
        return _OUTPUTS.format(bucket=aggregate.bucket.start_sql("newest.bucket"))
    return _ROWS.format(
        bucket=aggregate.bucket.start_sql(quoted(source.time_column)),
        table=stored_table(source.table),
        history=stored_table(f"{source.table}_history"),
    )


async def _forget(connection: Connection, reader: str, source: str) -> None:
    """Once no commit to the source is open that marks for it."""
    async with connection.transaction():
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", stored_table(source)):
            await _against_commits(connection, source, f"its marks for {reader} are kept")
        await connection.execute(_FORGET, reader, source)
        await connection.execute(_FORGET_MARKS, reader, source)


async def _against_commits(connection: Connection, table: str, so_long: str) -> None:
    """Hold a stored table against whoever writes to it, until the transaction ends."""
    await connection.execute(f"SET LOCAL lock_timeout = {round(PATIENCE.total_seconds() * 1000)}")
    try:
        await connection.execute(f"LOCK TABLE ONLY {stored_table(table)} IN SHARE ROW EXCLUSIVE MODE")
    except LockNotAvailable as error:
        raise ContractError(
            f"{table} is written to or vacuumed for longer than {PATIENCE.seconds} s without an end, and so "
            f"{so_long}: the next refresh tries again."
        ) from error
