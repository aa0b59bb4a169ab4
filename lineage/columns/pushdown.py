"""Fewer assumptions: Polars itself knows which columns of its sources an output needs.

Where the plan hides an expression, its projection pushdown still says what it reads: a column that
is not even read cannot be a source.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from .model import ColumnEdge
from .naming import mark_of
from .plan import Plan, traverser_of


def tightened(frame: pl.LazyFrame, edges: tuple[ColumnEdge, ...]) -> tuple[ColumnEdge, ...]:
    """`edges` without the opaque ones whose source column the target does not read."""
    uris = list(_uris(traverser_of(frame)))
    unread = {
        target: _unread(frame, target, uris) for target in {edge.target_column for edge in edges if edge.opaque}
    }
    return tuple(
        edge
        for edge in edges
        if not edge.opaque or (edge.source_dataset, edge.source_column) not in unread[edge.target_column]
    )


def _unread(frame: pl.LazyFrame, target: str, uris: list[str | None]) -> set[tuple[str, str]]:
    """The columns of datasets that `target` does not read.

    Both plans have the same sources in the same order; where they have not, nothing is known.
    """
    every = list(_sources(traverser_of(frame)))
    needed = list(_sources(traverser_of(frame.select(pl.col(target)), projection_pushdown=True)))
    if not len(every) == len(needed) == len(uris):
        return set()
    pairs = [(uri, have, read) for uri, have, read in zip(uris, every, needed, strict=True) if uri]
    read_at_all = {(uri, name) for uri, _, read in pairs for name in read}
    return {(uri, name) for uri, have, _ in pairs for name in have} - read_at_all


def _sources(traverser: Any) -> Iterator[list[str]]:
    """The columns of each source, from left to right."""
    waiting = [traverser.get_node()]
    while waiting:
        traverser.set_node(waiting.pop())
        inputs = traverser.get_inputs()
        waiting.extend(reversed(inputs))
        if not inputs:
            yield list(traverser.get_schema())


def _uris(traverser: Any) -> Iterator[str | None]:
    """The name of each source, from left to right; None where the name belongs to what follows it."""
    plan = Plan(traverser, {})
    waiting: list[tuple[int, str | None, bool]] = [(traverser.get_node(), None, False)]
    while waiting:
        number, name, below = waiting.pop()
        traverser.set_node(number)
        node = plan.viewed()
        inputs = traverser.get_inputs()
        if not inputs:
            yield name if below else next(iter(plan.leaf(node).datasets))
        mark = None if below else mark_of(node, traverser.view_expression)
        waiting.extend((each, mark, below or mark is not None) for each in reversed(inputs))
