"""Lineage for a flow that stores its results itself: what fed what, in the transaction of the results.

>>> orders = named(pl.scan_csv("orders.csv"), "file:orders.csv")
>>> async with record(connection, daily_totals, run=flow_run.id) as lineage:
...     await connection.executemany("INSERT INTO totals …", totals.collect().rows())
...     lineage.feeds("file:orders.csv", "postgres:totals", frame=totals)

The entries, their row of the ledger and whatever else the block wrote are committed together, or not at all.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import polars as pl

from .append import LedgerEntry, Relation, next_batch, write
from .columns import ColumnEdge, named, trace
from .errors import RejectedError
from .model import Node, NodeKind, RelationshipType, Run, Transformation, batch_node, run_node
from .ports import Connection
from .version import transformation_of

MEMORY = "memory:"
"""How `trace` calls data that nobody named."""

__all__ = ["Recording", "named", "record"]


@dataclass(frozen=True, slots=True)
class Recording:
    """What one block has said so far."""

    number: int
    transformation: Transformation
    run: Node
    targets: list[str] = field(default_factory=list)
    fed: list[Relation] = field(default_factory=list)
    columns: dict[str, list[ColumnEdge]] = field(default_factory=dict)

    def feeds(
        self, source: str, target: str, *, frame: pl.LazyFrame | None = None, rows: int | None = None
    ) -> None:
        """The dataset `target` was made from `source`.

        `frame` is what made it: its column edges are recorded, and every dataset it reads feeds the target
        too. `rows` is how many rows the target got. Raises RejectedError for a frame of data without a name,
        which would be confused with every other one.
        """
        read: list[str] = []
        if frame is not None:
            edges = trace(frame)
            read = sorted({edge.source_dataset for edge in edges if edge.source_dataset})
            if unnamed := [each for each in read if each.startswith(MEMORY)]:
                count = len(unnamed)
                raise RejectedError(
                    f"What makes {target} reads {count} frame(s) without a name: call named(frame, uri)."
                )
            self.columns.setdefault(target, []).extend(edges)
        made = batch_node(target, self.number, **({} if rows is None else {"rows": rows}))
        for each in dict.fromkeys([source, *read]):
            self.fed.append((RelationshipType.FEEDS, batch_node(each, self.number), made))
        self.targets.append(target)


@asynccontextmanager
async def record(
    connection: Connection,
    by: Callable[..., Any] | Transformation,
    *,
    run: Run | UUID | str | None = None,
    within: Iterable[str] = (),
) -> AsyncIterator[Recording]:
    """Record what the block says when it ends well, in the caller's transaction or one of its own.

    `by` is the function that makes the data (a flow or a task of Prefect's is one too); its version is its
    code's, with that of the packages `within` that it imports. `run` is the id of the flow run; None is a
    run of its own.
    """
    at = datetime.now(UTC)
    transformation = _transformation(by, within)
    node = _run(run, transformation.name, at)
    async with connection.transaction():
        number, at = await next_batch(connection)
        recording = Recording(number, transformation, node)
        yield recording
        if recording.targets:
            await _write(connection, recording, at)


async def _write(connection: Connection, recording: Recording, at: datetime) -> None:
    commit = LedgerEntry(
        number=recording.number,
        dataset=recording.targets[0],
        way="record",
        transformation=recording.transformation,
        run_id=UUID(recording.run.key),
        at=at,
        received_at=at,
    )
    made = {f"{target}#{recording.number}" for target in recording.targets}
    fed = [(kind, _read(source, made), target) for kind, source, target in recording.fed]
    await write(connection, commit, recording.run, fed, recording.columns)


def _read(source: Node, made: Collection[str]) -> Node:
    """What the block read: it leaves no batch there, unless it made it itself, and no audit counts one."""
    return source if source.key in made else replace(source, facts={**source.facts, "read": True})


def _transformation(by: Callable[..., Any] | Transformation, within: Iterable[str]) -> Transformation:
    if isinstance(by, Transformation):
        return by
    function = inspect.unwrap(by)
    return transformation_of(function, name=function.__qualname__, within=within, parameters={})


def _run(run: Run | UUID | str | None, name: str, at: datetime) -> Node:
    """The run's node; of a run known by its id alone nothing more is said."""
    if isinstance(run, Run):
        return run_node(run)
    if run is None:
        return run_node(Run(id=uuid4(), kind="command", name=name, started_at=at))
    return Node(NodeKind.RUN, str(UUID(str(run))), {"kind": "flow"})
