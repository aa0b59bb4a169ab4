"""Changed buckets: of all that a derived table is made from it is known that it waits, or was made again.

    a commit ─▶ a mark for each derived table ─▶ its refresh takes it, and names what it was made from

A mark that is lost would leave a derived table as it was, and nothing else would show it.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from .. import naming, query_files
from ..identifiers import literal, quoted, stored_table
from ..ports import Connection
from ..stored import TableShape, chunks

_READERS = """
SELECT reader, table_name, bucket, filled_at IS NOT NULL AS filled FROM store.mark_readers ORDER BY 1, 2
"""
# `label`: how the log calls the source's batch. Both looks are hash joins, so each table is read once.
_LOST = query_files.read(__package__, "lost_marks.sql")
_ROWS = """
SELECT batch, bucket, batch::text AS label
FROM (SELECT DISTINCT batch, {bucket} AS bucket FROM {stands} WHERE batch >= $1) stored
"""
# What was made is made again: of each bucket of the source the newest batch counts, one without rows too.
_OUTPUTS = query_files.read(__package__, "newest_buckets.sql")
_LATER = " AND l.batch > changed.batch"
_FALSE = query_files.read(__package__, "false_marks.sql")
_EVER = "SELECT batch, {bucket} AS bucket FROM {table} WHERE batch >= $1"
_EVER_MADE = """
SELECT batch, {bucket} AS bucket FROM store.ledger_outputs
WHERE table_name = {table} AND bucket IS NOT NULL AND batch >= $1
"""
_OF_NOBODY = """
SELECT DISTINCT reader, table_name FROM store.change_marks m WHERE batch >= $1 AND NOT EXISTS (
    SELECT FROM store.mark_readers r WHERE r.reader = m.reader AND r.table_name = m.table_name
) ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Told:
    """A derived table that is told of the changes of a table that it is made from."""

    reader: TableShape
    source: TableShape

    @property
    def is_of_derived(self) -> bool:
        """Whether the source is a derived table itself: its batches are its buckets."""
        return self.source.kind == "recompute"


async def check_marks(
    connection: Connection, tables: Mapping[str, TableShape], first: int
) -> AsyncIterator[str]:
    """What changed in batches from `first` on and neither waits for a derived table nor is in it."""
    for row in await connection.fetch(_OF_NOBODY, first):
        yield (f"change_marks: of {row['table_name']} for {row['reader']}, which is not told of its changes")
    for row in await connection.fetch(_READERS):
        reader, source = tables.get(row["reader"]), tables.get(row["table_name"])
        what = f"mark_readers: {row['reader']}, made from {row['table_name']}"
        if reader is None or source is None or reader.kind != "recompute" or source.time is None:
            yield f"{what}: there is no such derived table, or none with a time to make it from"
        elif row["bucket"] != reader.bucket:
            yield f"{what}: it is told of each {row['bucket']}, and its contract says {reader.bucket}"
        else:
            async for difference in _check(connection, Told(reader, source), first, filled=row["filled"]):
                yield difference


async def _check(connection: Connection, told: Told, first: int, *, filled: bool) -> AsyncIterator[str]:
    """`filled`: what was stored before it was told of changes is marked; until then it is not made."""
    reader = told.reader.name
    if filled:
        async for what in _found(connection, told, lost(told), first):
            yield f"{what}: its mark is lost, {reader} is not made from it"
    async for what in _found(connection, told, _false(told), first):
        yield f"{what}: it is marked as changed for {reader}, and no such row is stored"


async def _found(connection: Connection, told: Told, query: str, first: int) -> AsyncIterator[str]:
    bucket = told.reader.bucket
    async for rows in chunks(connection, query, first):
        for row in rows:
            yield f"{told.source.name}, batch {row['batch']}, {bucket} {bucket.label(row['bucket'])}"


def lost(told: Told) -> str:
    """The query of these batches and buckets; its parameter is the first batch."""
    reader, source = told.reader, told.source
    if told.is_of_derived:
        start, label = reader.bucket.start_sql("newest.bucket"), source.bucket.label_sql("newest.bucket")
        changed = _OUTPUTS.format(table=literal(source.name), bucket=start, label=label)
    else:
        bucket = reader.bucket.start_sql(quoted(source.time_column))
        changed = _ROWS.format(bucket=bucket, stands=stored_table(source.name))
    return _LOST.format(
        changed=changed,
        reader=literal(reader.name),
        table=literal(source.name),
        source=literal(f"{naming.postgres(source.name)}#"),
        target=literal(f"{naming.postgres(reader.name)}#"),
        bucket_label=reader.bucket.label_sql("changed.bucket"),
        later=_LATER if told.is_of_derived else "",
    )


def _false(told: Told) -> str:
    reader, source = told.reader, told.source
    if told.is_of_derived:
        made = _EVER_MADE.format(table=literal(source.name), bucket=reader.bucket.start_sql("bucket"))
        return _FALSE.format(reader=literal(reader.name), table=literal(source.name), changed=made)
    bucket = reader.bucket.start_sql(quoted(source.time_column))
    each = [_EVER.format(table=stored_table(table), bucket=bucket) for table in source.tables]
    return _FALSE.format(
        reader=literal(reader.name), table=literal(source.name), changed=" UNION ALL ".join(each)
    )
