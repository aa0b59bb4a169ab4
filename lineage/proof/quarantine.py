"""Rows that were taken out of what people query, against the acts that did it.

    act (who, why) ─ store.quarantine (key, batch, released) ─▶ quarantine#ACT in the log, with their digest

`NAME_quarantine` holds the keys that the published view leaves out: those whose newest act took them out.
"""

from collections.abc import AsyncIterator

from .. import query_files
from ..identifiers import literal, stored_table
from ..ports import Connection
from ..stored import TableShape, chunks, key_text

_UNLIKE = query_files.read(__package__, "quarantine_unlike.sql")


async def check_standing(connection: Connection, shape: TableShape) -> AsyncIterator[str]:
    """The keys a view leaves out against the newest act of each key."""
    query = _UNLIKE.format(
        key=key_text(shape), stands=stored_table(f"{shape.name}_quarantine"), table=literal(shape.name)
    )
    async for rows in chunks(connection, query):
        for row in rows:
            stands, said = (f"act {row[each]}" if row[each] else "no act" for each in ("stands", "said"))
            yield f"{shape.name}_quarantine: {row['key']} is out by {stands}, and by {said} in the record"
