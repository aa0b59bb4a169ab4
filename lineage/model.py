"""The words of the record: nodes, edges and the closed list of relationships between them.

An `Edge` is what a step says happened; `log.py` writes it beside the rows, `projection.py` turns it
into the graph. Everything here is a value: no I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from .bucket import FACTS, Bucket

Fact = str | int | bool | None
"""What a node or an edge may carry: canonical values only, times as microseconds since 1970 UTC."""


class NodeKind(StrEnum):
    """The labels of the graph."""

    DATASET = "Dataset"
    COLUMN = "Column"
    BATCH = "Batch"
    TRANSFORMATION = "Transformation"
    RUN = "Run"
    SUBJECT = "Subject"


class RelationshipType(StrEnum):
    """The closed list of relationships.

    FEEDS    Batch → Batch, and Dataset → Dataset: the target was made from the source
    DERIVES  Column → Column: a value of the target is computed from, or chosen by, the source; from a Dataset
             where only its rows count, from a Transformation where the value is a constant of its code
    PART_OF  Batch → Dataset, Column → Dataset
    ABOUT    Subject → Dataset (a device) or → Batch (an experiment)
    WROTE    Run → Batch
    RAN      Run → Transformation
    FOLDS    Batch (a day) → Dataset: the node stands for all the dataset's batches of that day
    USED     Subject (an experiment) → Subject (labware, a reagent)
    SUPERSEDES  Transformation → Transformation of the same name, or of its former one: from then on the
                source is in force
    """

    FEEDS = "FEEDS"
    DERIVES = "DERIVES"
    PART_OF = "PART_OF"
    ABOUT = "ABOUT"
    WROTE = "WROTE"
    RAN = "RAN"
    FOLDS = "FOLDS"
    USED = "USED"
    SUPERSEDES = "SUPERSEDES"


@dataclass(frozen=True, slots=True)
class Node:
    """A node by its kind and key; `facts` never change once written, so writing it again is harmless."""

    kind: NodeKind
    key: str
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformation:
    """A named function and its version (see `version.py`)."""

    name: str
    version: str

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution: a Prefect flow run, or the lifetime of a listener."""

    id: UUID
    kind: Literal["flow", "listener", "command"]
    name: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One entry of the lineage log before it is numbered: source → target."""

    relationship_type: RelationshipType
    source: Node
    target: Node
    created_at: datetime
    transformation_id: str | None = None
    run_id: UUID | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)  # what else is said of the relationship


def dataset_node(uri: str) -> Node:
    return Node(NodeKind.DATASET, uri)


def column_node(uri: str, column: str) -> Node:
    """A column of a dataset."""
    return Node(NodeKind.COLUMN, f"{uri}.{column}", {"dataset": uri, "column": column})


def batch_node(uri: str, number: int, **facts: Fact) -> Node:
    """What one commit put into, or took from, one dataset."""
    return Node(NodeKind.BATCH, f"{uri}#{number}", {"dataset": uri, "number": number, **facts})


def bucket_node(uri: str, start: datetime, bucket: Bucket) -> Node:
    """One bucket of a derived table; it is made again as a whole, so it is one node whatever fed it."""
    key = f"{uri}#{bucket.label(start)}"
    return Node(NodeKind.BATCH, key, {"dataset": uri, bucket.fact: micros(start)})


def bucket_of(facts: Mapping[str, Fact]) -> Fact:
    """When the bucket of a derived table begins, as its node says; None of any other batch."""
    return next((facts[name] for name in FACTS if name in facts), None)


SubjectKind = Literal["device", "experiment", "labware", "reagent"]


def subject_node(kind: SubjectKind, identity: str) -> Node:
    return Node(NodeKind.SUBJECT, f"{kind}:{identity}", {"kind": kind, "id": identity})


def run_node(of: Run) -> Node:
    facts: dict[str, Fact] = {"kind": of.kind, "name": of.name, "started_at": micros(of.started_at)}
    return Node(NodeKind.RUN, str(of.id), facts)


def transformation_node(of: Transformation) -> Node:
    return Node(NodeKind.TRANSFORMATION, of.id, {"name": of.name, "version": of.version})


def micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC; exact, unlike `timestamp()`."""
    from_epoch = moment - _EPOCH
    return (from_epoch.days * 86_400 + from_epoch.seconds) * 1_000_000 + from_epoch.microseconds


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
