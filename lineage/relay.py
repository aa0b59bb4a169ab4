"""The relay: carries the lineage log to the graph, seal by seal, at least once.

It seals what is committed (`seal.py`), keeps its cursor in Postgres (`store.relay_cursors`), and writes to
the graph before it moves the cursor: a relay killed in between carries the same seal again, which
changes nothing. The graph may be down for hours: ingest does not notice. One relay works at a time;
another waits for its turn, because two that merge the same nodes at once fail each other.

An entry that the graph cannot show stops nothing: it is named in `store.not_in_graph`, see `form.py`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from . import fold, lost, query_files
from . import graph as graphs
from .errors import RejectedError
from .log import Unshown
from .ports import Connection, Graph
from .projection import Projection
from .seal import UNSEALED, Seal, last_seal, read_seal, seal

SINK = "graph"
EMPTIED = "graph, being emptied"
"""A cursor's name: there while the graph is emptied."""
LOCK = 0x48_52  # "HR": the first key of the two-key advisory lock

_MOVE = """
INSERT INTO store.relay_cursors (sink, seal) VALUES ($1, $2)
ON CONFLICT (sink) DO UPDATE SET seal = greatest(relay_cursors.seal, excluded.seal), at = clock_timestamp()
"""
_FORGET = "DELETE FROM store.relay_cursors WHERE sink = $1"
_IS_EMPTIED = "SELECT true FROM store.relay_cursors WHERE sink = $1"
_SEALED_AT = "SELECT sealed_at FROM store.lineage_seals WHERE seal = $1"
_NOT_IN_GRAPH = """
INSERT INTO store.not_in_graph (writer, number, seal, reason) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
_FORGET_THOSE = "DELETE FROM store.not_in_graph"
_COUNT_THOSE = "SELECT count(*) FROM store.not_in_graph"
_THOSE = "SELECT writer, number, reason FROM store.not_in_graph ORDER BY seal, writer, number LIMIT $1"
# Postgres gives a lock to who has waited longest; here it may wait as long as it takes.
_NO_TIMEOUT = (
    "SELECT set_config(name, '0', false) FROM unnest(ARRAY['lock_timeout', 'statement_timeout']) name"
)
_LOCK = "SELECT pg_advisory_lock($1, hashtext($2))"
_TRY = "SELECT pg_try_advisory_lock($1, hashtext($2))"
_UNLOCK = "SELECT pg_advisory_unlock($1, hashtext($2))"
# What is sealed and not carried: the newest seal's total and the cursor's, and the first seal after it.
_UNCARRIED = query_files.read(__package__, "uncarried.sql")


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a sink is behind the log; `oldest`: since when, by its creation or its seal.

    `unshown`: entries that were carried and that it cannot show.
    """

    entries: int
    oldest: datetime | None
    unshown: int = 0


@dataclass(frozen=True, slots=True)
class Carried:
    """What one round of the relay carried; `oldest` is the creation of its first entry."""

    entries: int
    oldest: datetime | None
    behind: bool = False  # whether more waits, or may


async def carry(connection: Connection, graph: Graph) -> Carried:
    """Seal what is committed, and carry the first seal that the graph does not have."""
    async with relay_lock(connection):
        newest = await seal(connection)
        following = await cursor(connection) + 1
        sealed = newest if newest and newest.number == following else await read_seal(connection, following)
        if sealed is None:
            return Carried(0, None)
        await _write(connection, graph, sealed)
        behind = sealed is not newest or sealed.full
        return Carried(len(sealed.entries) + len(sealed.unread), sealed.oldest, behind)


async def _write(connection: Connection, graph: Graph, sealed: Seal) -> None:
    """What the seal says, its batches read as days where they are folded; then the days it folds itself."""
    await graphs.write(graph, await _told(connection, sealed))
    for day in fold.folds_of(sealed.entries):
        await graphs.fold(graph, day)
    for entry in sealed.unshown:
        await connection.execute(_NOT_IN_GRAPH, entry.writer, entry.number, sealed.number, entry.reason)
    await connection.execute(_MOVE, SINK, sealed.number)


async def _told(connection: Connection, sealed: Seal) -> Projection:
    """What the graph is told of a seal, with the folds of the seals up to it."""
    folds = await fold.load(connection, sealed.number, sealed.entries)
    return folds.projection(sealed)


@asynccontextmanager
async def relay_lock(connection: Connection) -> AsyncIterator[None]:
    """Hold the relay's lock, waiting as long as it takes; nobody else seals or writes to the graph then.

    Postgres lets it go when this connection ends, however it ends.
    """
    await connection.execute(_NO_TIMEOUT)
    await connection.execute(_LOCK, LOCK, SINK)
    await connection.execute("RESET lock_timeout")
    await connection.execute("RESET statement_timeout")
    try:
        yield
    finally:
        await connection.execute(_UNLOCK, LOCK, SINK)


async def is_busy(connection: Connection) -> bool:
    """Whether somebody holds the relay's lock; while a graph is emptied that takes minutes."""
    free = await connection.fetchval(_TRY, LOCK, SINK)
    if free:
        await connection.execute(_UNLOCK, LOCK, SINK)
    return not free


async def catch_up(connection: Connection, graph: Graph) -> int:
    """Carry all that is committed now, and not what is committed meanwhile; returns the entries carried."""
    await seal_all(connection)
    target, carried = await last_seal(connection), 0
    before, reached = None, await cursor(connection)
    while reached < target and reached != before:  # it stands where the next seal is gone
        carried += (await carry(connection, graph)).entries
        before, reached = reached, await cursor(connection)
    return carried


async def seal_all(connection: Connection) -> None:
    """Seal all that is committed now."""
    heads = {row["writer"]: row["head"] for row in await connection.fetch(UNSEALED)}
    while heads:
        async with relay_lock(connection):
            await seal(connection)
        waiting = {row["writer"]: row["number"] for row in await connection.fetch(UNSEALED)}
        heads = {writer: head for writer, head in heads.items() if waiting.get(writer, head) < head}


async def cursor(connection: Connection) -> int:
    """The number of the last seal in the graph, 0 before the first."""
    return await connection.fetchval("SELECT seal FROM store.relay_cursors WHERE sink = $1", SINK) or 0


async def lag(connection: Connection) -> Lag:
    """How many entries the graph has not seen, and since when."""
    unsealed = await connection.fetch(UNSEALED)
    sealed = await connection.fetchrow(_UNCARRIED, SINK)
    entries = sum(row["head"] - row["number"] for row in unsealed) + sealed["entries"]
    moments = [row["oldest"] for row in unsealed] + ([sealed["oldest"]] if sealed["oldest"] else [])
    return Lag(entries, min(moments, default=None), await connection.fetchval(_COUNT_THOSE))


async def unshown(connection: Connection, limit: int) -> list[Unshown]:
    """Entries that the graph cannot show, the oldest first."""
    return [Unshown(**row) for row in await connection.fetch(_THOSE, limit)]


async def resume(connection: Connection, graph: Graph) -> bool:
    """Whether the graph is the one that the cursor is about; another one is carried the whole log again."""
    async with relay_lock(connection):
        reached = await cursor(connection)
        sealed = await read_seal(connection, reached)
        if sealed is None:
            return True
        expected = await _told(connection, sealed)
        found = await graphs.find(graph, expected)
        if expected.relationships.keys() <= found.relationships.keys():
            return True
        await _forget(connection)
        return False


async def beyond(connection: Connection, graph: Graph) -> frozenset[int]:
    """The times of the seals that the graph was told of and the log does not have: see `lost.py`."""
    return await lost.known_alone(connection, graph, await _reached_at(connection))


async def keep_what_was_lost(connection: Connection, graph: Graph) -> int | None:
    """Write down the batches that are lost; returns how many; call it with the lock held.

    None: the graph knows no seal that the log lacks. It may be 0: then seals are gone, and no batch.
    Raises RejectedError for a graph that does not show that it was this log's.
    """
    reached_at, alone = await _reached_at(connection), await beyond(connection, graph)
    if not alone:
        return None
    if reached_at is None or not await lost.holds(graph, reached_at):
        raise RejectedError(
            "The graph holds the record of another store, or of this one before it was restored: correct "
            "HEADWATER_GRAPH_URI, or run `headwater graph rebuild`, which empties the graph."
        )
    return await lost.keep(connection, graph, reached_at, alone)


async def drop_what_was_lost(connection: Connection, graph: Graph) -> int | None:
    """Empty a graph that knows what the log does not, to be told anew; returns how many batches are lost.

    They are written down first; None, and raises, as `keep_what_was_lost`.
    """
    async with relay_lock(connection):
        if await connection.fetchval(_IS_EMPTIED, EMPTIED):  # somebody was killed doing so
            await _empty(connection, graph)
        batches = await keep_what_was_lost(connection, graph)
        if batches is not None:
            await _empty(connection, graph)
        return batches


async def _reached_at(connection: Connection) -> datetime | None:
    """The time of the last seal in the graph; None before the first."""
    moment: datetime | None = await connection.fetchval(_SEALED_AT, await cursor(connection))
    return moment


async def _empty(connection: Connection, graph: Graph) -> None:
    """Empty the graph; whoever is killed meanwhile leaves a note, and the next one goes on."""
    await connection.execute(_MOVE, EMPTIED, 0)
    await _forget(connection)
    await graphs.clear(graph)
    await graphs.migrate(graph)
    await connection.execute(_FORGET, EMPTIED)


async def _forget(connection: Connection) -> None:
    """Begin again with the first seal."""
    await connection.execute(_FORGET, SINK)
    await connection.execute(_FORGET_THOSE)


async def rebuild(connection: Connection, graph: Graph) -> int:
    """Empty the graph and carry the whole log again; returns the entries carried."""
    async with relay_lock(connection):
        with suppress(RejectedError):  # of a graph that was another's nothing is written down
            await keep_what_was_lost(connection, graph)
        await _empty(connection, graph)
        carried = 0
        while (round_ := await carry(connection, graph)).entries:
            carried += round_.entries
        return carried
