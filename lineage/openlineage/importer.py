"""Events of others as entries of our record: a pure function.

A run's events add up: one may name the inputs and a later one the outputs. So the edges are those of all its
events together, and only once one of them says that something was written: a START alone, a FAIL or an ABORT
makes none. What an event holds of ours, the facet of entries, counts alone.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RejectedError
from ..model import (
    Edge,
    Node,
    NodeKind,
    RelationshipType,
    Transformation,
    column_node,
    dataset_node,
    micros,
    transformation_node,
)
from .columns import pairs_in
from .entries import edges_in, texts_of
from .events import Dataset, Event
from .facets import ENTRIES
from .names import Names, foreign

READ = frozenset({"columnLineage", "schema", "sourceCodeLocation", "sql", ENTRIES})
"""The facets that enter the graph; every other is kept and listed."""
UNVERSIONED = "unversioned"
LONGEST_NAME = 2_000
"""Bytes; the graph's indexes hold no much longer key."""
_NOTHING_WRITTEN = ("START", "FAIL", "ABORT")


@dataclass(frozen=True, slots=True)
class KeptFacet:
    """A facet that does not enter the graph."""

    where: str
    name: str
    producer: str | None


def kept_facets(event: Event) -> list[KeptFacet]:
    """The facets of an event that only its bytes hold."""
    return [
        KeptFacet(where, name, content.get("_producer"))
        for where, name, content in event.facets()
        if name not in READ
    ]


def new_edges(event: Event, before: Sequence[Event], names: Names) -> list[Edge]:
    """What an event adds to what the earlier ones of its run said.

    Raises RejectedError when a facet that enters the graph is not of its schema, or a name cannot be stored.
    """
    known = {_relation(edge) for edge in edges_of(before, names)}
    found: dict[tuple[object, ...], Edge] = {}
    for edge in edges_of((*before, event), names):
        if (relation := _relation(edge)) not in known:
            found.setdefault(relation, edge)
    if unfit := next((text for text in texts_of(found.values()) if not _storable(text)), None):
        raise RejectedError(f"The event names something no database stores as a key: {unfit[:80]!a}.")
    return list(found.values())


def _storable(text: str) -> bool:
    """Whether Postgres and the graph take it: no NUL, no half a surrogate pair, not too long."""
    try:
        return "\0" not in text and len(text.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False


def _relation(edge: Edge) -> tuple[object, ...]:
    ends = (edge.source.kind, edge.source.key, edge.target.kind, edge.target.key)
    return edge.relationship_type, *ends, edge.transformation_id, tuple(sorted(edge.facts.items()))


def edges_of(events: Sequence[Event], names: Names) -> list[Edge]:
    """The edges of the events of one run, or of one event without a run."""
    if ours := [event for event in events if ENTRIES in event.run_facets]:
        return [edge for event in ours for edge in _entries(event, names)]
    if not events or all(event.state in _NOTHING_WRITTEN for event in events):
        return []
    return _Told(events, names).edges()


def _entries(event: Event, names: Names) -> list[Edge]:
    try:
        return edges_in(event.run_facets[ENTRIES], names)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RejectedError(f"The event's facet {ENTRIES} is not as we write it: {error!r}.") from error


class _Told:
    """What the events of one run say together."""

    def __init__(self, events: Sequence[Event], names: Names) -> None:
        self._names = names
        self._last = events[-1]
        self._at = max(event.at for event in events)
        self._started = min(event.at for event in events)
        self._inputs = _merged(events, "inputs")
        self._outputs = _merged(events, "outputs")
        self._datasets = _merged(events, "datasets")
        self._transformation = _transformation(events)

    def edges(self) -> list[Edge]:
        """Run → code, columns → datasets, datasets → datasets, columns → columns."""
        return [self._edge(*relation) for relation in self._relations()]

    def _relations(self) -> Iterator[tuple[Any, ...]]:
        if self._last.run_id is not None and self._transformation is not None:
            yield RelationshipType.RAN, self._run(), transformation_node(self._transformation)
        for dataset in (*self._inputs, *self._outputs, *self._datasets):
            uri = self._names.uri(dataset.name)
            for column in _columns(dataset):
                yield RelationshipType.PART_OF, column_node(uri, column), dataset_node(uri)
        for output in self._outputs:
            yield from self._made(output)

    def _made(self, output: Dataset) -> Iterator[tuple[Any, ...]]:
        target = self._names.uri(output.name)
        for source in dict.fromkeys(self._names.uri(each.name) for each in self._inputs):
            if source != target:
                yield RelationshipType.FEEDS, dataset_node(source), dataset_node(target)
        if (content := output.facets.get("columnLineage")) is None:
            return
        try:
            pairs = pairs_in(content, target, _columns(output), self._names)
        except (KeyError, TypeError, AttributeError) as error:
            raise RejectedError(f"The event's facet columnLineage does not fit: {error!r}.") from error
        for source_column, target_column, facts in pairs:
            yield RelationshipType.DERIVES, source_column, target_column, facts

    def _run(self) -> Node:
        job = self._last.job
        facts = {"kind": "openlineage", "name": f"{job.namespace}/{job.name}" if job else None}
        return Node(NodeKind.RUN, str(self._last.run_id), {**facts, "started_at": micros(self._started)})

    def _edge(
        self, kind: RelationshipType, source: Node, target: Node, facts: Mapping[str, Any] | None = None
    ) -> Edge:
        return Edge(
            relationship_type=kind,
            source=source,
            target=target,
            created_at=self._at,
            transformation_id=self._transformation.id if self._transformation else None,
            run_id=self._last.run_id,
            facts=facts or {},
        )


def _merged(events: Iterable[Event], which: str) -> tuple[Dataset, ...]:
    """Datasets by name, in order; of a facet told again the latest counts."""
    found: dict[Any, Dataset] = {}
    for event in events:
        for each in getattr(event, which):
            before = found.get(each.name)
            found[each.name] = Dataset(each.name, {**(before.facets if before else {}), **each.facets})
    return tuple(found.values())


def _columns(dataset: Dataset) -> tuple[str, ...]:
    """The columns the schema facet names."""
    fields = dataset.facets.get("schema", {}).get("fields") or ()
    try:
        return tuple(str(each["name"]) for each in fields)
    except (KeyError, TypeError) as error:
        raise RejectedError("The event's facet schema has a field without a name.") from error


def _transformation(events: Sequence[Event]) -> Transformation | None:
    """The job, at the version its code is told to have."""
    job = events[-1].job
    if job is None:
        return None
    version = UNVERSIONED
    for event in events:
        if query := event.job_facets.get("sql", {}).get("query"):
            version = hashlib.sha256(str(query).encode()).hexdigest()[:16]
        version = str(event.job_facets.get("sourceCodeLocation", {}).get("version") or version)
    return Transformation(name=foreign(job), version=version)
