"""Our record as OpenLineage run events: a pure function of commits and schemas.

A commit makes one run for each set of datasets something was made of, so that every input of an
event went into every output; a facet names the run of ours it happened in. The same commits give the same
events, to the byte and the run's id, so that whoever receives them twice can tell.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from ..commits import RecordedCommit
from ..log import Entry
from ..model import NodeKind, RelationshipType
from .columns import lineage_fields
from .entries import dataset_of, entries_facet
from .facets import EVENT_SCHEMA, PRODUCER, facet
from .names import Name, Names, is_foreign, job_of

_RUNS = UUID("5d1f5a3e-6f0b-5c0e-9a52-6f9f3b0b7a11")  # the namespace of the ids made here


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a dataset's schema."""

    name: str
    type: str
    description: str | None = None


Schemas = Mapping[str, Sequence[Field]]
"""Dataset URI → its columns."""
Event = Mapping[str, Any]
"""One event, as JSON has it."""


@dataclass(slots=True)
class _Step:
    """A part of a commit: the outputs made of the same inputs by the same run of the same code."""

    transformation_id: str
    run_id: UUID | None
    inputs: frozenset[str]
    outputs: set[str] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)


class _Output(NamedTuple):
    """What an entry says something was put into, by which code and run; no dataset for other entries."""

    transformation_id: str
    run_id: UUID | None
    uri: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the entries of a commit alone do not say."""

    schemas: Schemas = field(default_factory=dict)
    runs: Mapping[UUID, str] = field(default_factory=dict)  # run → its name


def export(commits: Iterable[RecordedCommit], names: Names, known: Known) -> Iterator[Event]:
    """A START and a COMPLETE event for each step of each commit, in their order."""
    exporter = Exporter(names, known)
    for commit in commits:
        yield from exporter.events(commit)


@dataclass(slots=True)
class Exporter:
    """Makes the events of one commit after another; tells a dataset's schema once."""

    names: Names
    known: Known
    _described: set[str] = field(default_factory=set)

    def events(self, commit: RecordedCommit) -> Iterator[Event]:
        """The events of one commit."""
        for step in _steps(commit):
            started = self._started(commit, step)
            yield started
            yield {
                **started,
                "eventType": "COMPLETE",
                "eventTime": _time(commit.processed_at),
                "run": self._run(commit, step, told=True),
                "inputs": [self._dataset(uri) for uri in sorted(step.inputs)],
                "outputs": [self._output(uri, commit, step) for uri in sorted(step.outputs)],
            }

    def _started(self, commit: RecordedCommit, step: _Step) -> Event:
        return {
            "eventType": "START",
            "eventTime": _time(min(commit.received_until, commit.processed_at)),
            "producer": PRODUCER,
            "schemaURL": EVENT_SCHEMA,
            "run": self._run(commit, step, told=False),
            "job": self._job(commit, step),
        }

    def _run(self, commit: RecordedCommit, step: _Step, *, told: bool) -> Event:
        identity = [self.names.own, str(commit.batch), step.transformation_id, str(step.run_id)]
        identity += sorted(step.inputs)
        facets: dict[str, Any] = {}
        if step.run_id is not None:
            job = self._parent(step)._asdict()
            facets |= facet("parent", run={"runId": str(step.run_id)}, job=job)
        if told:
            facets |= entries_facet(commit.batch, step.entries, self.names)
        return {"runId": str(uuid5(_RUNS, "\n".join(identity))), "facets": facets}

    def _parent(self, step: _Step) -> Name:
        """What the run of ours, or of somebody else's, was a run of."""
        job = job_of(step.transformation_id.rpartition("@")[0], self.names)
        if step.run_id is None or is_foreign(step.transformation_id):
            return job
        return job._replace(name=self.known.runs.get(step.run_id, job.name))

    def _job(self, commit: RecordedCommit, step: _Step) -> Event:
        """A job is a transformation and what it reads; somebody else's keeps its name."""
        job = job_of(step.transformation_id.rpartition("@")[0], self.names)
        if step.inputs and not is_foreign(step.transformation_id):
            reads = "+".join(uri.partition(":")[2] for uri in sorted(step.inputs))
            job = job._replace(name=f"{job.name}.{reads}")
        kind = facet("jobType", processingType="BATCH", integration="HEADWATER", jobType=commit.way)
        return {**job._asdict(), "facets": kind}

    def _dataset(self, uri: str) -> dict[str, Any]:
        """A dataset, with its schema the first time."""
        facets: dict[str, Any] = {}
        if uri in self.known.schemas and uri not in self._described:
            self._described.add(uri)
            facets |= facet("schema", fields=[_field(each) for each in self.known.schemas[uri]])
        return {**self.names.of(uri)._asdict(), "facets": facets}

    def _output(self, uri: str, commit: RecordedCommit, step: _Step) -> dict[str, Any]:
        output = self._dataset(uri)
        edges = [entry.edge for entry in step.entries if dataset_of(entry.edge.target) == uri]
        if fields := lineage_fields(edges, self.names):
            output["facets"] |= facet("columnLineage", fields=fields)
        made = {edge.target.key: edge.target for edge in edges if edge.target.kind is NodeKind.BATCH}
        if made:
            output["facets"] |= facet("version", datasetVersion=str(commit.batch))
        if rows := [node.facts["rows"] for node in made.values() if "rows" in node.facts]:
            output["outputFacets"] = facet("outputStatistics", rowCount=sum(int(n or 0) for n in rows))
        return output


def _steps(commit: RecordedCommit) -> list[_Step]:
    """The steps of a commit; every entry is in exactly one of them."""
    sources: dict[_Output, set[str]] = defaultdict(set)
    for entry in commit.entries:
        sources[_output_of(commit, entry)] |= _fed_from(entry)
    steps: dict[tuple[str, UUID | None, frozenset[str]], _Step] = {}
    for entry in sorted(commit.entries, key=lambda entry: _output_of(commit, entry).uri is None):
        transformation, run, uri = output = _output_of(commit, entry)
        inputs = frozenset(sources[output])
        if uri is None:  # it goes with what its code made, if that made something
            same = (each for each in steps.values() if (each.transformation_id, each.run_id) == output[:2])
            inputs = next((each.inputs for each in same), inputs)
        step = steps.setdefault((transformation, run, inputs), _Step(transformation, run, inputs))
        step.entries.append(entry)
        if uri is not None:
            step.outputs.add(uri)
    return list(steps.values())


def _output_of(commit: RecordedCommit, entry: Entry) -> _Output:
    edge = entry.edge
    made = edge.relationship_type in (RelationshipType.FEEDS, RelationshipType.DERIVES)
    uri = dataset_of(edge.target) if made else None
    return _Output(edge.transformation_id or commit.transformation_id, edge.run_id, uri)


def _fed_from(entry: Entry) -> set[str]:
    source = dataset_of(entry.edge.source)
    return {source} if source and entry.edge.relationship_type is RelationshipType.FEEDS else set()


def _field(of: Field) -> Mapping[str, str]:
    described = {"name": of.name, "type": of.type}
    return described | {"description": of.description} if of.description else described


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
