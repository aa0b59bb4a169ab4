"""Changed hours: of every stored row's hour it is known that it waits for its aggregate, or was made again.

A commit marks the hours it changed; a refresh takes the marks and names in the log what each hour was made
from. A mark that is lost would leave an aggregate as it was, and nothing else would show it.
"""

from collections.abc import AsyncIterator, Mapping

from .. import naming
from ..identifiers import literal, quoted, stored_table
from ..ports import Connection
from ..stored import TableShape, chunks

_LOST = """
SELECT stored.batch, stored.hour FROM (
    SELECT DISTINCT batch, date_trunc('hour', {time}, 'UTC') AS hour FROM {stands} WHERE batch >= $1
) stored
WHERE NOT EXISTS (
    SELECT FROM store.change_marks m
    WHERE m.table_name = {table} AND m.batch = stored.batch AND m.hour = stored.hour
) AND NOT EXISTS (
    SELECT FROM store.lineage_log l
    WHERE l.batch > $1 AND l.relationship_type = 'FEEDS' AND l.source_key = {source} || stored.batch
      AND (l.target_facts->>'hour')::bigint = (extract(epoch FROM stored.hour) * 1000000)::bigint
)
ORDER BY 1, 2
"""
_FALSE = """
SELECT m.batch, m.hour FROM store.change_marks m
WHERE m.table_name = {table} AND m.batch >= $1 AND NOT EXISTS (
    SELECT FROM ({rows}) stored WHERE stored.batch = m.batch AND stored.hour = m.hour
) ORDER BY 1, 2
"""
_NO_HOURS = "SELECT NULL::bigint AS batch, NULL::timestamptz AS hour WHERE false"
_HOURS = "SELECT batch, date_trunc('hour', {time}, 'UTC') AS hour FROM {table} WHERE batch >= $1"
_OF_NO_TABLE = """
SELECT DISTINCT table_name FROM store.change_marks WHERE batch >= $1 AND table_name <> ALL ($2) ORDER BY 1
"""


async def check_marks(connection: Connection, shape: TableShape, first: int) -> AsyncIterator[str]:
    """The hours of rows of batches from `first` on whose change went to no aggregate and waits for none.

    Of a table without time there are none.
    """
    if shape.time is not None:
        async for rows in chunks(connection, lost(shape), first):
            for row in rows:
                yield (
                    f"{shape.name}, batch {row['batch']}, hour {row['hour']:%Y-%m-%dT%HZ}: its mark is lost, "
                    "no hour of an aggregate is made from it"
                )
    async for rows in chunks(connection, _false(shape), first):
        for row in rows:
            yield (
                f"{shape.name}, batch {row['batch']}, hour {row['hour']:%Y-%m-%dT%HZ}: it is marked as "
                "changed, and no such row is stored"
            )


async def check_names(
    connection: Connection, tables: Mapping[str, TableShape], first: int
) -> AsyncIterator[str]:
    """The marks of batches from `first` on that are of no table."""
    for row in await connection.fetch(_OF_NO_TABLE, first, list(tables)):
        yield f"change_marks: hours of {row['table_name']}, which is no table"


def _false(shape: TableShape) -> str:
    hours = [_NO_HOURS]
    if shape.time is not None:
        time = quoted(shape.time)
        hours = [_HOURS.format(table=stored_table(table), time=time) for table in shape.tables]
    return _FALSE.format(table=literal(shape.name), rows=" UNION ALL ".join(hours))


def lost(shape: TableShape) -> str:
    """The query of these batches and hours; its two looks are hash joins, so each table is read once."""
    return _LOST.format(
        stands=stored_table(shape.name),
        time=quoted(shape.time_column),
        table=literal(shape.name),
        source=literal(f"{naming.postgres(shape.name)}#"),
    )
