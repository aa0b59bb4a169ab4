"""How far each reader of the store has come: set on, what lies between is never read; set back, it is told.

relay_cursors ── seals, graph      lineage_writers ── spans, log
progress, followed_files, asset_cursors ── ledger
"""

from collections.abc import AsyncIterator
from typing import Any

from .. import fold, relay
from .. import graph as graphs
from ..model import micros
from ..ports import Connection, Graph
from ..seal import last_seal, read_seal

_OTHERS = "SELECT sink FROM store.relay_cursors WHERE sink <> $1 ORDER BY sink"
# Each writer of the log is one look into its index.
_WRITERS = """
WITH RECURSIVE wrote AS (
    (SELECT writer FROM store.lineage_log ORDER BY writer LIMIT 1)
    UNION ALL
    SELECT (SELECT l.writer FROM store.lineage_log l WHERE l.writer > w.writer ORDER BY l.writer LIMIT 1)
    FROM wrote w WHERE w.writer IS NOT NULL
)
SELECT w.writer, k.writer IS NULL AS unknown, newest.number - coalesce(s.last, 0) AS unsealed
FROM wrote w
LEFT JOIN store.lineage_writers k ON k.writer = w.writer
CROSS JOIN LATERAL (
    SELECT number FROM store.lineage_log l WHERE l.writer = w.writer ORDER BY number DESC LIMIT 1
) newest
LEFT JOIN LATERAL (
    SELECT last FROM store.lineage_spans s WHERE s.writer = w.writer ORDER BY last DESC LIMIT 1
) s ON true
WHERE k.writer IS NULL OR (k.ended_at IS NOT NULL AND newest.number > coalesce(s.last, 0)) ORDER BY 1
"""
# A partition is where its newest batch ended (clocks jump a little); of several pipelines one is. The part ''
# says how the topic was begun.
_OFFSETS = """
SELECT p.dataset, p.part, array_to_string(p.marks, ', ') AS marks, last.ended FROM (
    SELECT dataset, part, array_agg(mark ORDER BY mark) AS marks FROM store.progress
    WHERE dataset ~ '^kafka[+:]' AND part <> '' GROUP BY 1, 2
) p CROSS JOIN LATERAL (
    SELECT * FROM (
        SELECT g.batch, g.position->'offsets'->p.part->>1 AS ended FROM store.ledger g
        WHERE g.dataset = p.dataset AND g.raw_digest IS NOT NULL AND g.position->'offsets'->p.part IS NOT NULL
        ORDER BY g.processed_at DESC LIMIT 100
    ) newest ORDER BY batch DESC LIMIT 1
) last
WHERE last.ended <> ALL (p.marks) ORDER BY 1, 2
"""
_WITHOUT_OFFSET = """
SELECT DISTINCT g.dataset, o.part FROM store.ledger g, json_object_keys(g.position->'offsets') AS o(part)
WHERE g.batch >= $1 AND g.dataset ~ '^kafka[+:]' AND json_typeof(g.position->'offsets') = 'object'
AND NOT EXISTS (SELECT FROM store.progress p WHERE p.dataset = g.dataset AND p.part = o.part) ORDER BY 1, 2
"""
# A file is where its last batch ended, with the digest of all that was read of it by then; its dataset is the
# one it is read under next.
_FOLLOWED = """
SELECT f.path, f.number, p.mark, last.ended FROM store.followed_files f
LEFT JOIN store.progress p ON p.pipeline = f.pipeline AND p.part = f.file::text
LEFT JOIN LATERAL (
    SELECT concat_ws(' ', g.position->>'to', g.position->>'line', g.position->>'sha256') AS ended,
        g.position->>'path' AS path, g.pipeline
    FROM store.ledger g WHERE g.position->>'file' = f.file::text AND g.raw_digest IS NOT NULL
    ORDER BY (g.position->>'to')::bigint DESC LIMIT 1
) last ON true
WHERE p.mark IS DISTINCT FROM last.ended OR (f.path, f.pipeline) <> (last.path, last.pipeline) ORDER BY 1, 2
"""
_NOT_FOLLOWED = """
SELECT DISTINCT g.position->>'path' AS path, g.position->>'file' AS file FROM store.ledger g
WHERE g.batch >= $1 AND g.position->>'file' IS NOT NULL
AND NOT EXISTS (SELECT FROM store.followed_files f WHERE f.file::text = g.position->>'file') ORDER BY 1, 2
"""
# Any other source is where its newest batch ended; a mark that was set back is told until read again. A part
# of which nothing is read yet may have been begun.
_PROGRESS = """
SELECT p.pipeline, p.dataset, p.part, p.mark, last.ended FROM store.progress p LEFT JOIN LATERAL (
    SELECT mark.span->>1 AS ended FROM store.ledger g, LATERAL (
        SELECT CASE p.part WHEN '' THEN g.position->'mark' ELSE g.position->'marks'->p.part END AS span
    ) mark
    WHERE g.dataset = p.dataset AND g.pipeline = p.pipeline AND g.raw_digest IS NOT NULL
        AND mark.span IS NOT NULL
    ORDER BY g.processed_at DESC, g.batch DESC LIMIT 1
) last ON true
WHERE p.dataset !~ '^(kafka[+:]|file:)' AND p.mark IS DISTINCT FROM last.ended
    AND (p.part = '' OR last.ended IS NOT NULL) ORDER BY 1, 2, 3
"""
_WITHOUT_PROGRESS = """
SELECT DISTINCT g.pipeline, g.dataset, part.name AS part FROM store.ledger g, LATERAL (
    SELECT '' AS name WHERE g.position->'mark' IS NOT NULL
    UNION ALL
    SELECT json_object_keys(g.position->'marks') WHERE json_typeof(g.position->'marks') = 'object'
) part
WHERE g.batch >= $1 AND g.raw_digest IS NOT NULL
AND NOT EXISTS (
    SELECT FROM store.progress p
    WHERE p.pipeline = g.pipeline AND p.dataset = g.dataset AND p.part = part.name
) ORDER BY 1, 2, 3
"""
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
