"""How far each reader of the store has come: set on, what lies between is never read; set back, it is told.

relay_cursors ── seals, graph      lineage_writers ── spans, log
progress, followed_files, asset_cursors ── ledger
"""

from collections.abc import AsyncIterator
from typing import Any

from .. import fold, query_files, relay
from .. import graph as graphs
from ..model import micros
from ..ports import Connection, Graph
from ..seal import last_seal, read_seal

_OTHERS = "SELECT sink FROM store.relay_cursors WHERE sink <> $1 ORDER BY sink"
# Each writer of the log is one look into its index.
_WRITERS = query_files.read(__package__, "writers_unlike.sql")
# A partition is where its newest batch ended (clocks jump a little); of several pipelines one is. The part ''
# says how the topic was begun.
_OFFSETS = query_files.read(__package__, "offsets_unlike.sql")
_WITHOUT_OFFSET = """
SELECT DISTINCT g.dataset, o.part FROM store.ledger g, json_object_keys(g.position->'offsets') AS o(part)
WHERE g.batch >= $1 AND g.dataset ~ '^kafka[+:]' AND json_typeof(g.position->'offsets') = 'object'
AND NOT EXISTS (SELECT FROM store.progress p WHERE p.dataset = g.dataset AND p.part = o.part) ORDER BY 1, 2
"""
# A file is where its last batch ended, with the digest of all that was read of it by then; its dataset is the
# one it is read under next.
_FOLLOWED = query_files.read(__package__, "followed_unlike.sql")
_NOT_FOLLOWED = """
SELECT DISTINCT g.position->>'path' AS path, g.position->>'file' AS file FROM store.ledger g
WHERE g.batch >= $1 AND g.position->>'file' IS NOT NULL
AND NOT EXISTS (SELECT FROM store.followed_files f WHERE f.file::text = g.position->>'file') ORDER BY 1, 2
"""
# Any other source is where its newest batch ended; a mark that was set back is told until read again. A part
# of which nothing is read yet may have been begun.
_PROGRESS = query_files.read(__package__, "progress_unlike.sql")
_WITHOUT_PROGRESS = query_files.read(__package__, "without_progress.sql")
_ASSETS = """
SELECT source, occurred FROM store.asset_cursors
WHERE occurred > coalesce((SELECT max(received_at) FROM store.ledger WHERE way = 'asset'), '-infinity')
ORDER BY source
"""


async def check_cursor(connection: Connection, graph: Graph) -> AsyncIterator[str]:
    """The relay's cursor, before anything is carried: the graph has what it says and not much more.

    A relay that was killed leaves a graph that has one seal more; what is behind by others was set back.
    """
    for row in await connection.fetch(_OTHERS, relay.SINK):
        yield f"relay_cursors: sink {row['sink']}, to which nothing is carried"
    reached, last = await relay.cursor(connection), await last_seal(connection)
    if reached > last or reached < 0:
        yield f"relay_cursors: the graph is said to have seal {reached}, and the last one is {last}"
    elif last - reached > 1 and (sealed := await read_seal(connection, last)) is not None:
        told = (await fold.load(connection, last, sealed.entries)).projection(sealed)
        found = (await graphs.find(graph, told)).relationships.values()
        if any(facts.get("known_at") == micros(sealed.sealed_at) for facts in found):
            yield f"relay_cursors: the graph is said to have seal {reached}, and it has seal {last}"


async def check_writers(connection: Connection) -> AsyncIterator[str]:
    """Every writer of the log is known, and none is told to have ended before its last entry was sealed."""
    for row in await connection.fetch(_WRITERS):
        if row["unknown"]:
            yield f"lineage_writers: writer {row['writer']}, which wrote, is not there"
        else:
            yield (
                f"lineage_writers: writer {row['writer']} is said to have ended, and {row['unsealed']} "
                "entry(s) of it are not sealed"
            )


async def check_sources(connection: Connection, first: int) -> AsyncIterator[str]:
    """Where sources are read on, against what was committed of them; `first`: the first batch that is new."""
    for row in await connection.fetch(_OFFSETS):
        yield (
            f"progress: {row['dataset']}, part {row['part']}, is read on at {row['marks']}, and what was "
            f"committed ends at {row['ended']}"
        )
    for row in await connection.fetch(_WITHOUT_OFFSET, first):
        yield f"progress: {row['dataset']}, part {row['part']}, was read, and nobody says how far"
    for row in await connection.fetch(_FOLLOWED):
        yield (
            f"progress: {row['path']} (number {row['number']} in followed_files) is read on at "
            f"{row['mark'] or 0}, and what was committed of it ends at {row['ended'] or 0} or says something "
            "else"
        )
    for row in await connection.fetch(_NOT_FOLLOWED, first):
        yield f"followed_files: {row['path']} ({row['file']}) was read, and nobody says which file it is"
    for row in await connection.fetch(_PROGRESS):
        yield (
            f"progress: {_part(row)} is read on by {row['pipeline']} at {row['mark']}, and what was "
            f"committed ends at {row['ended']}"
        )
    for row in await connection.fetch(_WITHOUT_PROGRESS, first):
        yield f"progress: {_part(row)} was read by {row['pipeline']}, and nobody says how far"
    for row in await connection.fetch(_ASSETS):
        yield f"asset_cursors: {row['source']} is at {row['occurred']}, and nothing as late was taken"


def _part(row: Any) -> str:
    return f"{row['dataset']}{row['part'] and ', part ' + row['part'] + ','}"
