"""Which edges a commit records: a pure function of the batch, the plan and what was stored."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from lineage import naming
from lineage.acts import Moved, history
from lineage.filtered import FILTERED, Told
from lineage.model import (
    Edge,
    Node,
    RelationshipType,
    Run,
    SubjectKind,
    Transformation,
    batch_node,
    dataset_node,
    micros,
    run_node,
    subject_node,
    transformation_node,
)
from tasks.batch import RawBatch
from tasks.load.plan import LoadPlan

RAW = naming.postgres("raw_batches")
"""Where messages are stored, as the ledger says it of acts; in the log a batch of them is its source's."""
REJECTED = naming.postgres("rejected")

Subject = tuple[str, str, str]
"""Kind, identity and the dataset it is about; of labware and reagents the experiment that used them."""

_NAMES: Mapping[SubjectKind, Sequence[str]] = {
    "labware": ("definitionUri", "loadName"),
    "reagent": ("displayName",),
}
"""Kind → the fields that may name one, the best first."""

Relation = tuple[RelationshipType, Node, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a commit put where."""

    source: str  # the dataset (a URI) of its messages
    accepted: Mapping[str, pl.DataFrame]  # table name → rows
    rejected: int
    filtered: Told | None = None  # the records that a step left out, and none before
    moved: Mapping[str, Moved] = field(default_factory=dict)  # table name → rows moved to its history


def of_commit(
    number: int, batch: RawBatch, plan: LoadPlan, stored: Stored, new: Iterable[Subject], now: datetime
) -> list[Edge]:
    """The source's batch → each table that got rows, → rejected and filtered; experiments → steps; and the
    subjects seen first with what they used."""
    received = received_node(batch, number, plan.position_id(batch))
    made = from_received(received, _outputs(batch_node(batch.dataset, number), number, plan, stored, new))
    # not later than now: the clock may have been set back since
    return _edges(plan, made, now, valid_from=min(batch.received_at, now))


def received_node(batch: RawBatch, number: int, position_id: str | None) -> Node:
    """The messages that a commit brought, as a batch of their source's dataset."""
    return batch_node(
        batch.dataset,
        number,
        rows=batch.messages.height,
        received_at=micros(batch.received_at),
        received_until=micros(batch.received_until),
        position_id=position_id,
    )


def from_received(received: Node, made: Iterable[Relation]) -> list[Relation]:
    """What was made, with all that is said of the received batch in one entry.

    Of one that nothing was made of there is an entry too: it is part of its dataset.
    """
    relations = list(made)
    for place, (kind, source, target) in enumerate(relations):
        if source.key == received.key:
            relations[place] = kind, received, target
            return relations
    part = RelationshipType.PART_OF, received, dataset_node(str(received.facts["dataset"]))
    return [part, *relations]


def of_replay(
    number: int, raw_batch: int, plan: LoadPlan, stored: Stored, new: Iterable[Subject], now: datetime
) -> list[Edge]:
    """The original batch of the source → each table that got rows, → rejected (judged again, rejected again),
    → filtered, → what a reprocess replaced."""
    made = _outputs(batch_node(stored.source, raw_batch), number, plan, stored, new)
    return _edges(plan, made, now, valid_from=now)


def _outputs(
    raw: Node, number: int, plan: LoadPlan, stored: Stored, new: Iterable[Subject]
) -> Iterable[Relation]:
    for table, rows in stored.accepted.items():
        if rows.height:
            target = batch_node(naming.postgres(table), number, rows=rows.height)
            yield RelationshipType.FEEDS, raw, target
    yield from _steps(plan, number, stored)
    if stored.rejected:
        rejected = batch_node(REJECTED, number, rows=stored.rejected, source=stored.source)
        yield RelationshipType.FEEDS, raw, rejected
    if stored.filtered:
        yield RelationshipType.FEEDS, raw, batch_node(FILTERED, number, **stored.filtered._asdict())
    for table, moved in stored.moved.items():  # also none: that no row was moved can be proved too
        yield RelationshipType.FEEDS, raw, batch_node(history(table), number, **moved._asdict())
    for source, target in _about(plan, number, stored, new):
        yield RelationshipType.ABOUT, source, target
    for kind in _NAMES:
        for identity, experiment in (each[1:] for each in new if each[0] == kind):
            yield RelationshipType.USED, subject_node("experiment", experiment), subject_node(kind, identity)


def _steps(plan: LoadPlan, number: int, stored: Stored) -> Iterable[Relation]:
    """A commit's experiments → their steps: the plan's first table about experiments → each further one."""
    about = [table for table, (kind, _) in plan.subjects.items() if kind == "experiment"]
    batches = [
        batch_node(naming.postgres(table), number)
        for table in about
        if table in stored.accepted and stored.accepted[table].height
    ]
    if len(batches) == len(about):
        for steps in batches[1:]:
            yield RelationshipType.FEEDS, batches[0], steps


def used(plan: LoadPlan, table: str, rows: pl.DataFrame) -> Iterable[Subject]:
    """The labware and reagents that the rows' experiments list."""
    subject = plan.subjects[table][1]
    for kind, column in plan.uses.get(table, {}).items():
        for experiment, text in rows.select(subject, column).drop_nulls().iter_rows():
            yield from ((kind, name, experiment) for name in _names(json.loads(text), _NAMES[kind]))


def _names(things: Any, fields: Sequence[str]) -> Iterable[str]:
    """The names of a list's things, whatever shape it was sent in."""
    for thing in things if isinstance(things, list) else ():
        named = [thing.get(field) for field in fields] if isinstance(thing, dict) else []
        yield from [name for name in named if isinstance(name, str) and name][:1]


def _edges(plan: LoadPlan, relations: Iterable[Relation], now: datetime, valid_from: datetime) -> list[Edge]:
    return [
        Edge(
            relationship_type=kind,
            source=source,
            target=target,
            created_at=now,
            transformation_id=plan.transformation.id,
            run_id=plan.run.id,
            facts={"valid_from": micros(valid_from)},
        )
        for kind, source, target in relations
    ]


def of_announcement(run: Run, transformation: Transformation, now: datetime) -> Edge:
    """Which run ran which transformation; recorded by a writer's first commit of it."""
    return Edge(
        relationship_type=RelationshipType.RAN,
        source=run_node(run),
        target=transformation_node(transformation),
        created_at=now,
        transformation_id=transformation.id,
        run_id=run.id,
    )


def _about(
    plan: LoadPlan, number: int, stored: Stored, new: Iterable[Subject]
) -> Iterable[tuple[Node, Node]]:
    """A device is about a dataset, once; an experiment is about each of its batches."""
    for kind, identity, uri in new:
        if kind == "device":
            yield subject_node("device", identity), dataset_node(uri)
    for table, (kind, column) in plan.subjects.items():
        if kind == "experiment" and table in stored.accepted:
            target = batch_node(naming.postgres(table), number)
            for identity in stored.accepted[table][column].drop_nulls().unique().sort():
                yield subject_node("experiment", identity), target
