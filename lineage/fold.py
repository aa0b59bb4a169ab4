"""Folds: a dataset's batches of a day that is long past become one node, so that the graph stays small.

    (raw#1)-FEEDS->(readings#1)                 (raw#day:2026-01-31)-FEEDS->(readings#day:2026-01-31)
    (raw#2)-FEEDS->(readings#2)        ─▶
    (readings#2)-FEEDS->(hourly#…T10Z)          (readings#day:…)-FEEDS->(hourly#day:…)

A fold is an entry of the log like any other: FOLDS, from the day's node to its dataset. The graph is still a
pure function of the log: every batch is read as its day, whenever it is named. Nothing changes between
datasets or columns; Postgres keeps every batch, so `trace` still finds each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from . import form, query_files
from .append import LedgerEntry, next_batch, write
from .log import Entry, read_entries
from .model import (
    Fact,
    Node,
    NodeKind,
    RelationshipType,
    Run,
    Transformation,
    bucket_of,
    dataset_node,
    micros,
    run_node,
)
from .ports import Connection
from .projection import Projection, project
from .seal import Seal

WAY = "fold"
"""How the ledger calls these commits."""
TRANSFORMATION = Transformation(name="fold", version="1")

NOTHING: Mapping[str, Fact] = {"dataset": "postgres:ledger", "batches": 0, "rows": 0}
"""What a day without a commit folds."""

_KNOWN = query_files.read(__package__, "folds_after.sql")
_NEWEST = query_files.read(__package__, "newest_fold.sql")
_FIRST_DAY = "SELECT date_trunc('day', min(processed_at), 'UTC') FROM store.ledger"
_LAST_BATCH = "SELECT max(batch) FROM store.ledger WHERE processed_at < $1 AND batch > $2"
# What the entries of these commits call batches, and whose records they rejected: by dataset what its day's
# node says, so that nothing about the dataset has to be asked of its batches. A bucket is made again and
# again.
_NODES = query_files.read(__package__, "days_to_fold.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A day of a dataset: its batches first..last, and its buckets since ≤ start < until (µs since 1970)."""

    dataset: str
    day: str
    first: int
    last: int
    since: int
    until: int

    @property
    def key(self) -> str:
        return f"{self.dataset}#day:{self.day}"

    def holds(self, facts: Mapping[str, Fact]) -> bool:
        """Whether a batch with these facts is one of the day's."""
        if (bucket := bucket_of(facts)) is not None:
            return self.since <= _whole(bucket, 0) < self.until
        return self.first <= _whole(facts.get("number"), 0) <= self.last


@dataclass(frozen=True, slots=True)
class Folds:
    """The days that are folded."""

    by_dataset: dict[str, list[Fold]] = field(default_factory=dict)

    def entry(self, entry: Entry) -> Entry:
        """The entry as the graph is told: each batch of a folded day is the day."""
        if not self.by_dataset or entry.edge.relationship_type is RelationshipType.FOLDS:
            return entry
        edge = entry.edge
        source, target = self._node(edge.source), self._node(edge.target)
        if source is edge.source and target is edge.target:
            return entry
        return replace(entry, edge=replace(edge, source=source, target=target))

    def projection(self, sealed: Seal) -> Projection:
        """What the graph is told of a seal, without the entries that it cannot show."""
        shown = sealed.shown
        if not self.by_dataset and len(shown) == len(sealed.entries):
            return sealed.projection
        return project(map(self.entry, shown), micros(sealed.sealed_at))

    def _node(self, node: Node) -> Node:
        if node.kind is not NodeKind.BATCH:
            return node
        facts = dict(node.facts)
        for fold in self.by_dataset.get(str(facts.get("dataset")), ()):
            if fold.holds(facts):
                return Node(NodeKind.BATCH, fold.key, {"dataset": fold.dataset, "day": fold.day})
        return node


def folds_of(entries: Iterable[Entry]) -> list[Fold]:
    """The folds among these entries."""
    found = (entry.edge for entry in entries if entry.edge.relationship_type is RelationshipType.FOLDS)
    return [_fold(edge.source.facts) for edge in found if not form.cannot_be_shown(edge)]


def _fold(facts: Mapping[str, Any]) -> Fold:
    return Fold(**{name: facts[name] for name in ("dataset", "day", "first", "last", "since", "until")})


async def load(connection: Connection, upto: int, entries: Sequence[Entry] | None = None) -> Folds:
    """The folds that seals up to `upto` say; with `entries` those that could hold a batch they name."""
    least, earliest = _least(entries) if entries is not None else (0, -(1 << 62))
    by_dataset: dict[str, list[Fold]] = {}
    folding, _ = read_entries(await connection.fetch(_KNOWN, upto, least, earliest))
    for fold in folds_of(folding):
        by_dataset.setdefault(fold.dataset, []).append(fold)
    return Folds(by_dataset)


def _least(entries: Sequence[Entry]) -> tuple[int, int]:
    """The lowest number and the earliest bucket of the batches that the entries name."""
    numbers, buckets = [1 << 62], [1 << 62]
    for entry in entries:
        for node in (entry.edge.source, entry.edge.target):
            if node.kind is not NodeKind.BATCH:
                continue
            if (bucket := bucket_of(node.facts)) is not None:
                buckets.append(_whole(bucket, 0))
            else:
                numbers.append(_whole(node.facts.get("number"), 1 << 62))
    return min(numbers), min(buckets)


def _whole(fact: Fact, otherwise: int) -> int:
    """A number or a time; `otherwise` for what is none, as others may once have told of their batches."""
    try:
        return int(fact or otherwise)
    except ValueError:
        return otherwise


async def fold_next_day(connection: Connection, run: Run, until: datetime) -> str | None:
    """Fold the oldest day that is not folded and ended before `until`; returns it, None if there is none.

    One transaction. A day is its batches by the time of their commit, and the buckets that begin on its date.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('fold'))")
        newest = await connection.fetchrow(_NEWEST)
        start = await _start(connection, newest["until"])
        if start is None or start + timedelta(days=1) > until:
            return None
        end = start + timedelta(days=1)
        last = await connection.fetchval(_LAST_BATCH, end, newest["last"]) or newest["last"]
        first, since, upto = newest["last"] + 1, micros(start), micros(end)
        rows = await connection.fetch(_NODES, first, last, since, upto)
        day = f"{start:%Y-%m-%d}"
        await _record(connection, run, rows, day, (first, last, since, upto))
        return day


async def _start(connection: Connection, until: int | None) -> datetime | None:
    if until is not None:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=until)
    first: datetime | None = await connection.fetchval(_FIRST_DAY)
    return first


async def _record(
    connection: Connection,
    run: Run,
    rows: Sequence[Any],
    day: str,
    span: tuple[int, int, int, int],
) -> None:
    """A FOLDS entry per dataset; a day without batches has one for itself, so that it is passed."""
    first, last, since, until = span
    span_facts: dict[str, Fact] = {"day": day, "first": first, "last": last, "since": since, "until": until}
    relations = [
        (
            RelationshipType.FOLDS,
            Node(NodeKind.BATCH, f"{facts['dataset']}#day:{day}", {**facts, **span_facts}),
            dataset_node(str(facts["dataset"])),
        )
        for facts in [_facts(row) for row in rows]
        or [{"dataset": "postgres:ledger", "batches": 0, "rows": 0}]
    ]
    number, at = await next_batch(connection)
    commit = LedgerEntry(
        number=number,
        dataset="postgres:lineage_log",
        way=WAY,
        transformation=TRANSFORMATION,
        run_id=run.id,
        at=at,
        received_at=at,
        position_id=f"fold {day}",
    )
    await write(connection, commit, run_node(run), relations, {})


def _facts(row: Mapping[str, Any]) -> dict[str, Fact]:
    """What is said of a dataset's day; times in microseconds since 1970."""
    said = {name: value for name, value in row.items() if value is not None}
    return {name: micros(value) if isinstance(value, datetime) else value for name, value in said.items()}
