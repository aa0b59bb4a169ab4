"""Events of others as entries of our record: a pure function.

A run's events add up: one may name the inputs and a later one the outputs. So the edges are those of all its
events together, and only once one of them says that something was written: a START alone, a FAIL or an ABORT
makes none. What an event of another Headwater holds, the facet of entries, counts alone: see `sent.py`.

An import can only add: see `lineage/apart.py`. What a run is called and when it began is told once.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .. import apart
from ..errors import RejectedError
from ..model import (
    Edge,
    Fact,
    Node,
    NodeKind,
    RelationshipType,
    Transformation,
    dataset_node,
    micros,
    transformation_node,
)
from .columns import pairs_in
from .events import Dataset, Event
from .facets import ENTRIES, PRODUCER, SCHEMAS
from .names import FOREIGN, Name, Names, foreign
from .sent import edges_in, left_out

READ = frozenset({"columnLineage", "schema", "sourceCodeLocation", "sql", ENTRIES})
"""The facets that enter the graph; every other is kept and listed."""
UNVERSIONED = "unversioned"
_NOTHING_WRITTEN = ("START", "FAIL", "ABORT")


@dataclass(frozen=True, slots=True)
class KeptFacet:
    """A facet that does not enter the graph."""

    where: str
    name: str
    producer: str | None


def kept_facets(event: Event, names: Names) -> list[KeptFacet]:
    """The facets of an event, or parts of one, that only its bytes hold.

    Those of an export of Headwater's say what its entries say.
    """
    kept = [
        KeptFacet(where, name, content.get("_producer"))
        for where, name, content in event.facets()
        if name not in READ and not (name in SCHEMAS and content.get("_producer") == PRODUCER)
    ]
    if (told := event.run_facets.get(ENTRIES)) is not None:
        producer = told.get("_producer")
        kept += [KeptFacet("run", name, producer) for name in left_out(told, _sender(event), names)]
    return kept


class _Relation(NamedTuple):
    kind: RelationshipType
    source: Node
    target: Node
    facts: Mapping[str, Fact] = {}


class Story:
    """What the events of one run, or one event without a run, say together; it grows event by event."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._inputs: dict[Name, Dataset] = {}
        self._outputs: dict[Name, Dataset] = {}
        self._datasets: dict[Name, Dataset] = {}
        self._written = False
        self._version = UNVERSIONED
        self._times: set[datetime] = set()
        self._known: set[tuple[object, ...]] = set()
        self._introduced = False  # whether its run's name and start are told

    def add(self, event: Event) -> list[Edge]:
        """The edges this event adds to what the earlier ones said.

        Raises RejectedError when a facet that enters the graph is not of its schema, or a name cannot be
        stored; the story is then spoilt.
        """
        if ENTRIES in event.run_facets:
            found = edges_in(event.run_facets[ENTRIES], _sender(event), self._names)
        else:
            self._learn(event)
            found = [self._edge(event, *relation) for relation in self._relations(event)]
        edges = {relation: edge for edge in found if (relation := _relation(edge)) not in self._known}
        if unfit := next((text for text in _keys(edges.values()) if not apart.fits_a_key(text)), None):
            raise RejectedError(f"The event names something no database stores as a key: {unfit[:80]!a}.")
        self._known |= edges.keys()
        return list(edges.values())

    def _learn(self, event: Event) -> None:
        """Of a facet told again the latest counts."""
        self._times = {min({event.at, *self._times}), max({event.at, *self._times})}
        self._written = self._written or event.state not in _NOTHING_WRITTEN
        self._version = _version(event) or self._version
        for known, told in (
            (self._inputs, event.inputs),
            (self._outputs, event.outputs),
            (self._datasets, event.datasets),
        ):
            for each in told:
                before = known[each.name].facets if each.name in known else {}
                known[each.name] = Dataset(each.name, {**before, **each.facets})

    def _relations(self, event: Event) -> Iterator[_Relation]:
        """Run → code, columns → datasets, datasets → datasets, columns → columns."""
        if not self._written:
            return
        if event.run_id is not None and (code := self._transformation(event)) is not None:
            yield _Relation(RelationshipType.RAN, self._run(event), transformation_node(code))
        for dataset in (*self._inputs.values(), *self._outputs.values(), *self._datasets.values()):
            uri = self._names.uri(dataset.name)
            for column in _columns(dataset):
                yield _Relation(RelationshipType.PART_OF, apart.column(uri, column), dataset_node(uri))
        for output in self._outputs.values():
            yield from self._made(output)

    def _made(self, output: Dataset) -> Iterator[_Relation]:
        target = self._names.uri(output.name)
        for source in dict.fromkeys(self._names.uri(name) for name in self._inputs):
            if source != target:
                yield _Relation(RelationshipType.FEEDS, dataset_node(source), dataset_node(target))
        if (content := output.facets.get("columnLineage")) is None:
            return
        try:
            pairs = pairs_in(content, target, _columns(output), self._names)
        except (KeyError, TypeError, AttributeError) as error:
            raise RejectedError(f"The event's facet columnLineage does not fit: {error!r}.") from error
        for source_column, target_column, facts in pairs:
            yield _Relation(RelationshipType.DERIVES, source_column, target_column, facts)

    def _run(self, event: Event) -> Node:
        """The run; its facts once, since a later event may say otherwise."""
        run = str(_run_id(event))
        if self._introduced:
            return Node(NodeKind.RUN, run)
        self._introduced = True
        name = "/".join(event.job) if event.job else None
        started = micros(min(self._times))
        facts: dict[str, Fact] = {"kind": "openlineage", "id": str(event.run_id), "name": name}
        return Node(NodeKind.RUN, run, {**facts, "started_at": started})

    def _transformation(self, event: Event) -> Transformation | None:
        """The job, at the version its code is told to have."""
        return apart.transformation(foreign(event.job), self._version) if event.job else None

    def _edge(
        self,
        event: Event,
        kind: RelationshipType,
        source: Node,
        target: Node,
        facts: Mapping[str, Fact],
    ) -> Edge:
        code = self._transformation(event)
        return Edge(
            relationship_type=kind,
            source=source,
            target=target,
            created_at=max(self._times),
            transformation_id=code.id if code else None,
            run_id=_run_id(event),
            facts={**facts, apart.TOLD_BY: FOREIGN},
        )


def _relation(edge: Edge) -> tuple[object, ...]:
    ends = (edge.source.kind, edge.source.key, edge.target.kind, edge.target.key)
    return edge.relationship_type, *ends, edge.transformation_id, tuple(sorted(edge.facts.items()))


def _run_id(event: Event) -> UUID | None:
    return None if event.run_id is None else apart.run_id(FOREIGN, str(event.run_id))


def _sender(event: Event) -> str:
    """Who sent entries without the name of its store."""
    return event.job.namespace if event.job else FOREIGN


def _keys(edges: Iterable[Edge]) -> Iterator[str]:
    """Every text of these edges that becomes a key, or may be as long as one."""
    for edge in edges:
        yield from (edge.source.key, edge.target.key, edge.transformation_id or "")
        if (
            edge.facts.get(apart.TOLD_BY) == FOREIGN
        ):  # those of another Headwater are checked as they are read
            for facts in (edge.facts, edge.source.facts, edge.target.facts):
                yield from (text for pair in facts.items() for text in pair if isinstance(text, str))


def _columns(dataset: Dataset) -> tuple[str, ...]:
    """The columns the schema facet names."""
    fields = dataset.facets.get("schema", {}).get("fields") or ()
    try:
        found = tuple(each["name"] for each in fields)
    except (KeyError, TypeError) as error:
        raise RejectedError("The event's facet schema has a field without a name.") from error
    if not all(isinstance(each, str) and each for each in found):
        raise RejectedError("The event's facet schema has a field whose name is no text.")
    return found


def _version(event: Event) -> str | None:
    """The version of a job's code: what its place in a repository says, else a hash of its SQL."""
    version = event.job_facets.get("sourceCodeLocation", {}).get("version")
    query = event.job_facets.get("sql", {}).get("query")
    if not isinstance(version, str | None) or not isinstance(query, str | None):
        raise RejectedError("The event's job has a version or a query that is no text.")
    if version:
        return version
    return hashlib.sha256(query.encode(errors="replace")).hexdigest()[:16] if query else None
