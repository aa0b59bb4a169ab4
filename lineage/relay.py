"""The relay: carries the lineage log to the graph, at least once, in each writer's order.

It reads only what is committed, keeps its cursors in Postgres (`store.relay_cursors`), and writes to
the graph before it moves a cursor. The graph may be down for hours: ingest does not notice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from . import graph as graphs
from .log import Entry, entry_of
from .ports import Connection, Graph
from .projection import project

SINK = "graph"
PAGE = 10_000
"""Entries per round."""

_BEHIND = """
SELECT w.writer, coalesce(c.number, 0) AS number
FROM store.lineage_writers w LEFT JOIN store.relay_cursors c ON c.writer = w.writer AND c.sink = $1
WHERE EXISTS (SELECT FROM store.lineage_log l WHERE l.writer = w.writer AND l.number > coalesce(c.number, 0))
ORDER BY w.writer
"""
_ENTRIES = "SELECT * FROM store.lineage_log WHERE writer = $1 AND number > $2 ORDER BY number LIMIT $3"
_MOVE = """
INSERT INTO store.relay_cursors (sink, writer, number) SELECT $1, unnest($2::bigint[]), unnest($3::bigint[])
ON CONFLICT (sink, writer) DO UPDATE SET number = excluded.number, at = clock_timestamp()
"""
_LAG = """
SELECT count(*) AS entries, min(l.created_at) AS oldest
FROM store.lineage_log l LEFT JOIN store.relay_cursors c ON c.writer = l.writer AND c.sink = $1
WHERE l.number > coalesce(c.number, 0)
"""


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
    """Carry up to a page of entries of every writer that is ahead of its cursor."""
    entries = await _read(connection)
    if not entries:
        return Carried(0, None)
    await graphs.write(graph, project(entries))
    last = {entry.writer: entry.number for entry in entries}
    await connection.execute(_MOVE, SINK, list(last), list(last.values()))
    return Carried(len(entries), min(entry.edge.created_at for entry in entries))


async def _read(connection: Connection) -> Sequence[Entry]:
    entries: list[Entry] = []
    for row in await connection.fetch(_BEHIND, SINK):
        room = PAGE - len(entries)
        if room <= 0:
            break
        rows = await connection.fetch(_ENTRIES, row["writer"], row["number"], room)
        entries.extend(entry_of(r) for r in rows)
    return entries


async def lag(connection: Connection) -> Lag:
    """How many entries the graph has not seen, and since when."""
    row = await connection.fetchrow(_LAG, SINK)
    return Lag(row["entries"], row["oldest"])


async def rebuild(connection: Connection, graph: Graph) -> int:
    """Empty the graph and carry the whole log again; returns the entries carried."""
    await connection.execute("DELETE FROM store.relay_cursors WHERE sink = $1", SINK)
    await graphs.clear(graph)
    await graphs.migrate(graph)
    carried = 0
    while (round_ := await carry(connection, graph)).entries:
        carried += round_.entries
    return carried
