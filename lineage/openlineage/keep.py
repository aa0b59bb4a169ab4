"""Keeps events of others, and commits their edges with them: an import is a commit of its own.

One transaction holds the events' exact bytes, their entries in the log, and a ledger row of way `import`
that names those entries and a digest of what is kept, so that a proof covers what was imported. The same
event again changes nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from .. import append, query_files
from ..errors import RejectedError
from ..log import Writer
from ..model import Edge, RelationshipType, Transformation, batch_node, dataset_node
from ..ports import Connection
from .events import Event, read
from .importer import KeptFacet, Story, kept_facets
from .kept import WAY, position_of
from .names import Names

DATASET = "events:openlineage"
TRANSFORMATION = Transformation(name="openlineage.import", version="1")
LOCK = 0x48_4F  # "HO": one import at a time, so that the events of a run add up

_LOCK = "SELECT pg_advisory_xact_lock($1, 0)"
_KNOWN = "SELECT error FROM store.imported_events WHERE hash = $1"
_OF_RUN = "SELECT event FROM store.imported_events WHERE run_id = $1 AND error IS NULL ORDER BY batch, place"
_KEEP = query_files.read(__package__, "keep_event.sql")


@dataclass(frozen=True, slots=True)
class Bad:
    """An event that could not be read, now or when it first came: its place from 1, and why."""

    place: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did; no batch when every event was there already. `again`: were there, and are good."""

    batches: tuple[int, ...] = ()
    new: int = 0
    again: int = 0
    edges: int = 0
    bad: tuple[Bad, ...] = ()

    def and_then(self, after: Self) -> Self:
        """This import and the one after it as one."""
        before = self.new + self.again + len(self.bad)
        return type(self)(
            batches=self.batches + after.batches,
            new=self.new + after.new,
            again=self.again + after.again,
            edges=self.edges + after.edges,
            bad=self.bad + tuple(Bad(before + bad.place, bad.reason) for bad in after.bad),
        )


@dataclass(slots=True)
class _Import:
    """One import on its way to its commit."""

    connection: Connection
    writer: Writer
    names: Names
    at: datetime
    batch: int
    edges: list[Edge]
    bad: list[Bad]
    stories: dict[UUID, Story]  # of the runs met so far
    kept: int = 0  # events that were not there yet
    new: int = 0  # of these, could be read


async def import_events(
    connection: Connection, writer: Writer, documents: Sequence[bytes], names: Names
) -> Imported:
    """Commit a few hundred events at a time; `writer` is this connection's.

    An event that cannot be read is kept with the reason and makes no edge. After an error, or a commit whose
    answer was lost, import the same again.
    """
    batch, at = await append.next_batch(connection)
    work = _Import(connection, writer, names, at, batch, [], [], {})
    span = None
    async with connection.transaction():
        await connection.execute(_LOCK, LOCK)
        for place, document in enumerate(documents, start=1):
            await _keep(work, place, document)
        if work.kept:
            span = await writer.append(connection, batch, work.edges or [_itself(work)])
            await append.write_ledger(connection, _commit(work, await position_of(connection, batch)), span)
    if span is not None:
        writer.committed(span)
    return Imported(
        batches=(batch,) if span else (),
        new=work.new,
        again=len(documents) - work.new - len(work.bad),
        edges=len(work.edges),
        bad=tuple(work.bad),
    )


def _itself(work: _Import) -> Edge:
    """The entry of an import whose events make no edge, so that a seal and a proof know of it."""
    return Edge(
        relationship_type=RelationshipType.PART_OF,
        source=batch_node(DATASET, work.batch, events=work.kept),
        target=dataset_node(DATASET),
        created_at=work.at,
        transformation_id=TRANSFORMATION.id,
    )


def _commit(work: _Import, position_id: str) -> append.LedgerEntry:
    return append.LedgerEntry(
        number=work.batch,
        dataset=DATASET,
        way=WAY,
        transformation=TRANSFORMATION,
        run_id=None,  # the events' runs are others'
        at=work.at,
        received_at=work.at,
        position_id=position_id,
    )


async def _keep(work: _Import, place: int, document: bytes) -> None:
    """Keep one event, if it is not there yet, and collect its edges."""
    identity = hashlib.sha256(document).digest()
    if known := await work.connection.fetchrow(_KNOWN, identity):
        if known["error"] is not None:
            work.bad.append(Bad(place, known["error"]))
        return
    first, event, error = work.writer.last + len(work.edges) + 1, None, None
    try:
        event = read(document)
        work.edges += (await _story(work, event)).add(event)
    except RejectedError as rejected:
        if event is not None and event.run_id is not None:
            work.stories.pop(event.run_id, None)  # to be read again from what is kept
        event, error = None, _written(str(rejected))
        work.bad.append(Bad(place, error))
    work.kept += 1
    work.new += error is None
    last = work.writer.last + len(work.edges)
    told = _columns(event, work.names)
    await work.connection.execute(
        _KEEP, identity, work.batch, place, work.at, document, *told, error, first, last
    )


def _columns(event: Event | None, names: Names) -> tuple[Any, ...]:
    """Run, time, producer, job, state and facets kept, as the table has them."""
    if event is None:
        return None, None, None, None, None, "[]"
    job = _written("/".join(event.job)) if event.job else None
    facets = json.dumps([_plain(facet) for facet in kept_facets(event, names)])
    return event.run_id, event.at, _written(event.producer), job, event.state, facets


def _plain(facet: KeptFacet) -> dict[str, str | None]:
    return {name: None if value is None else _written(str(value)) for name, value in asdict(facet).items()}


def _written(text: str) -> str:
    """A text as Postgres takes it; the exact one is in the bytes."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


async def _story(work: _Import, event: Event) -> Story:
    """What the earlier events of its run said."""
    if event.run_id is None:
        return Story(work.names)
    if event.run_id not in work.stories:
        kept = await work.connection.fetch(_OF_RUN, event.run_id)
        work.stories[event.run_id] = _together(work.names, [read(row["event"]) for row in kept])
    return work.stories[event.run_id]


def _together(names: Names, events: Sequence[Event]) -> Story:
    """The story of kept events; one that is taken no more, since less was checked then, is left out."""
    story, good = Story(names), []
    for event in events:
        try:
            story.add(event)
            good.append(event)
        except RejectedError:
            story = _together(names, good)
    return story
