"""Acts of people against the entries of the log that tell of them: who, why, and with which rows or messages.

Entries of before the digest was kept of an act say less: of drops and erasures not who and why, of a
reprocess nothing at all.
"""

from collections.abc import AsyncIterator, Mapping

from .. import query_files
from ..acts import ERASURES, NODES, RECALL, REPROCESS, digest_of, digest_of_erasure
from ..model import batch_node
from ..ports import Connection
from .books import Books
from .entries import RAW

_SAID = """
SELECT DISTINCT batch, target_key, target_facts->>'digest' AS digest FROM store.lineage_log
WHERE batch >= $1 AND batch < $2 AND relationship_type = 'FEEDS'
"""
_RECALLS = """
SELECT act, kind FROM store.recalls WHERE act >= $1 AND act < $2 ORDER BY act
"""
_ROWS = "SELECT DISTINCT act FROM store.quarantine WHERE act >= $1 AND act < $2 ORDER BY act"
_ERASED = query_files.read(__package__, "erased_of_acts.sql")
# From the first act of this way on, every reprocess that was asked for is one.
_BEFORE_TOLD = "SELECT NOT EXISTS (SELECT FROM store.ledger WHERE way = $1 AND batch < $2)"


async def check_acts(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """Who, why and what: of every act from `first` on, as its entry says."""
    acts = {number: row["way"] for number, row in books.ledger.items() if row["way"] in NODES}
    said = await _said(connection, acts, first, end)
    for number, way in sorted(acts.items()):
        digest = digest_of_erasure if way == "erase" else digest_of
        told = said.get(number, "")
        if told == "" or (told is not None and told != await digest(connection, number)):
            what = f"{_table(way)}, batch {number}"
            yield f"{what}: who did it, why or with which rows is not what was recorded"
    async for difference in _without_act(connection, acts, first, end):
        yield difference


async def _said(
    connection: Connection, acts: Mapping[int, str], first: int, end: int
) -> dict[int, str | None]:
    """Act → the digest its entry says, None if it says none; an act without such an entry is left out."""
    if not acts:
        return {}
    nodes = {batch_node(NODES[way], number).key: number for number, way in acts.items()}
    rows = await connection.fetch(_SAID, first, end)
    return {nodes[row["target_key"]]: row["digest"] for row in rows if row["target_key"] in nodes}


async def _without_act(
    connection: Connection, acts: Mapping[int, str], first: int, end: int
) -> AsyncIterator[str]:
    """Reasons, rows and erasures of what is no act in the ledger."""
    for row in await connection.fetch(_RECALLS, first, end):
        way = RECALL if row["kind"] == REPROCESS else row["kind"]
        if acts.get(row["act"]) == way:
            continue
        if way != RECALL or not await connection.fetchval(_BEFORE_TOLD, RECALL, row["act"]):
            yield f"recalls: a reason of batch {row['act']}, which is no such act in the ledger"
    for row in await connection.fetch(_ROWS, first, end):
        if acts.get(row["act"]) not in ("quarantine", "release"):
            yield f"quarantine: rows of batch {row['act']}, which is no such act in the ledger"
    for row in await connection.fetch(_ERASED, first, end, f"{RAW}#", f"{ERASURES}#"):
        if row["messages"] != row["told"]:
            unlike = row["messages"] - row["told"]
            yield f"erasures: {unlike} message(s) of act {row['act']}, of which the log does not say so"


def _table(way: str) -> str:
    return {"erase": "erasures", RECALL: "recalls", "release": "quarantine"}.get(way, way)
