"""Rows that were taken out of what people query, against the acts that did it.

    act (who, why) ─ store.quarantine (key, batch, released) ─▶ quarantine#ACT in the log, with their digest

`NAME_quarantine` holds the keys that the published view leaves out: those whose newest act took them out.
"""

from collections.abc import AsyncIterator

from ..acts import QUARANTINE, digest_of
from ..identifiers import literal, stored_table
from ..model import batch_node
from ..ports import Connection
from ..stored import TableShape, chunks, key_text
from .books import Books

WAYS = ("quarantine", "release")
"""What the ledger's `way` says of an act that takes rows out, or puts them back."""

_SAID = """
SELECT DISTINCT batch, target_facts->>'digest' AS digest FROM store.lineage_log
WHERE batch >= $1 AND batch < $2 AND relationship_type = 'FEEDS' AND target_key = $3 || batch
"""
_ACTS = """
SELECT act, 'rows' AS what FROM store.quarantine WHERE act >= $1 AND act < $2
UNION SELECT act, 'a reason' FROM store.recalls WHERE act >= $1 AND act < $2 AND kind = ANY($3) ORDER BY 1, 2
"""
_UNLIKE = """
SELECT coalesce(stands.key, said.key) AS key, stands.act AS stands, said.act AS said
FROM (SELECT {key} AS key, s.act FROM {stands} s) stands
FULL JOIN (
    SELECT * FROM (
        SELECT DISTINCT ON (key) key, act, released FROM store.quarantine
        WHERE table_name = {table} ORDER BY key, act DESC
    ) newest WHERE NOT released
) said USING (key)
WHERE stands.act IS DISTINCT FROM said.act ORDER BY 1
"""


async def check_acts(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """Who, why and which rows: of every act that took rows out or put them back."""
    uri = batch_node(QUARANTINE, 0).key.removesuffix("0")
    said = {row["batch"]: row["digest"] for row in await connection.fetch(_SAID, first, end, uri)}
    acts = {number for number, row in books.ledger.items() if row["way"] in WAYS}
    for number in sorted(acts):
        if said.get(number) != await digest_of(connection, number):
            yield f"quarantine, batch {number}: who did it, why or with which rows is not what was recorded"
    for row in await connection.fetch(_ACTS, first, end, WAYS):
        if row["act"] not in acts:
            yield f"quarantine: {row['what']} of batch {row['act']}, which is no such act in the ledger"


async def check_standing(connection: Connection, shape: TableShape) -> AsyncIterator[str]:
    """The keys a view leaves out against the newest act of each key."""
    query = _UNLIKE.format(
        key=key_text(shape), stands=stored_table(f"{shape.name}_quarantine"), table=literal(shape.name)
    )
    async for rows in chunks(connection, query):
        for row in rows:
            stands, said = (f"act {row[each]}" if row[each] else "no act" for each in ("stands", "said"))
            yield f"{shape.name}_quarantine: {row['key']} is out by {stands}, and by {said} in the record"
