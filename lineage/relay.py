"""The relay: carries the lineage log to the graph, at least once, in each writer's order.

It reads only what is committed, keeps its cursors in Postgres (`store.relay_cursors`), and writes to
the graph before it moves a cursor: a relay killed in between carries the same entries again, which
changes nothing. The graph may be down for hours: ingest does not notice. One relay works at a time;
another waits for its turn, because two that merge the same nodes at once fail each other.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from . import graph as graphs
from .log import Entry, entry_of
from .ports import Connection, Graph
from .projection import project

SINK = "graph"
PAGE = 10_000
"""Entries per round."""
LOCK = 0x48_52  # "HR": the first key of the two-key advisory lock
WAIT = 0.1
"""Seconds between two looks at the lock."""

# The last number and the next entry of each writer are one look each into the primary key's index,
# however long the log is. Who has waited longest comes first, so that a busy writer starves nobody.
_BEHIND = """
SELECT w.writer, coalesce(c.number, 0) AS number, newest.number AS head, next.created_at AS oldest
FROM store.lineage_writers w
LEFT JOIN store.relay_cursors c ON c.writer = w.writer AND c.sink = $1
CROSS JOIN LATERAL (
    SELECT l.number FROM store.lineage_log l WHERE l.writer = w.writer ORDER BY l.number DESC LIMIT 1
) newest
CROSS JOIN LATERAL (
    SELECT l.created_at FROM store.lineage_log l
    WHERE l.writer = w.writer AND l.number > coalesce(c.number, 0) ORDER BY l.number LIMIT 1
) next
WHERE newest.number > coalesce(c.number, 0)
ORDER BY next.created_at, w.writer
"""
_ENTRIES = "SELECT * FROM store.lineage_log WHERE writer = $1 AND number > $2 ORDER BY number LIMIT $3"
_MOVE = """
INSERT INTO store.relay_cursors (sink, writer, number) SELECT $1, unnest($2::bigint[]), unnest($3::bigint[])
ON CONFLICT (sink, writer) DO UPDATE
SET number = greatest(relay_cursors.number, excluded.number), at = clock_timestamp()
"""
_TRY_LOCK = "SELECT pg_try_advisory_lock($1, hashtext($2))"


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a sink is behind the log."""

    entries: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Carried:
    """What one round of the relay carried; `oldest` is the creation of its first entry."""

    entries: int
    oldest: datetime | None


async def carry(connection: Connection, graph: Graph) -> Carried:
    """Carry up to a page of entries, those of the writers that waited longest first."""
    async with alone(connection):
        entries = await _read(connection)
        if not entries:
            return Carried(0, None)
        await graphs.write(graph, project(entries))
        last = {entry.writer: entry.number for entry in entries}
        await connection.execute(_MOVE, SINK, list(last), list(last.values()))
        return Carried(len(entries), min(entry.edge.created_at for entry in entries))


@asynccontextmanager
async def alone(connection: Connection) -> AsyncIterator[None]:
    """Hold the relay's lock, waiting for it as long as it takes; nobody else writes to the graph then.

    Postgres lets it go when this connection ends, however it ends.
    """
    # Not a waiting lock: Postgres would cut that off at lock_timeout.
    while not await connection.fetchval(_TRY_LOCK, LOCK, SINK):  # noqa: ASYNC110 - another process holds it
        await asyncio.sleep(WAIT)
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1, hashtext($2))", LOCK, SINK)


async def _read(connection: Connection) -> Sequence[Entry]:
    entries: list[Entry] = []
    for row in await connection.fetch(_BEHIND, SINK):
        room = PAGE - len(entries)
        if room <= 0:
            break
        rows = await connection.fetch(_ENTRIES, row["writer"], row["number"], room)
        entries.extend(entry_of(r) for r in rows)
    return entries


async def catch_up(connection: Connection, graph: Graph) -> int:
    """Carry all that is committed now, and not what is committed meanwhile; returns the entries carried."""
    heads = {row["writer"]: row["head"] for row in await connection.fetch(_BEHIND, SINK)}
    carried = 0
    while heads:
        carried += (await carry(connection, graph)).entries
        reached = await cursors(connection)
        heads = {writer: head for writer, head in heads.items() if reached.get(writer, 0) < head}
    return carried


async def cursors(connection: Connection) -> Mapping[int, int]:
    """Writer → the number of its last entry in the graph."""
    rows = await connection.fetch("SELECT writer, number FROM store.relay_cursors WHERE sink = $1", SINK)
    return {row["writer"]: row["number"] for row in rows}


async def lag(connection: Connection) -> Lag:
    """How many entries the graph has not seen, and since when."""
    rows = await connection.fetch(_BEHIND, SINK)
    entries = sum(row["head"] - row["number"] for row in rows)
    return Lag(entries, min((row["oldest"] for row in rows), default=None))


async def rebuild(connection: Connection, graph: Graph) -> int:
    """Empty the graph and carry the whole log again; returns the entries carried."""
    async with alone(connection):
        await connection.execute("DELETE FROM store.relay_cursors WHERE sink = $1", SINK)
        await graphs.clear(graph)
        await graphs.migrate(graph)
        carried = 0
        while (round_ := await carry(connection, graph)).entries:
            carried += round_.entries
        return carried
