"""From a frame to its edges."""

import warnings
from collections.abc import Iterator, Mapping
from functools import cache

import polars as pl

from .model import ColumnEdge, Kind, Subtype, UnknownPlanWarning
from .nodes import VISITORS, Visitor
from .plan import Plan, traverser_of
from .values import Cause, Table, Value, rows_of

KNOWN_VERSIONS = frozenset([(16, 0)])
"""Those of Polars' plan, (major, minor): 16.0 is Polars 2.1's."""


def trace(frame: pl.LazyFrame) -> tuple[ColumnEdge, ...]:
    """The edges of every column of `frame`, back to the nearest named datasets, in a fixed order.

    The plan alone is read, so the cost does not depend on the data. A frame in memory without a name
    is `memory:1`, `memory:2`, … by its place in the plan.
    """
    traverser = traverser_of(frame)
    table = Plan(frame, traverser, _visitors(traverser.version())).output()
    return tuple(
        edge
        for target, value in table.columns.items()
        for edge in sorted(_edges(target, value, table), key=_place)
    )


def _visitors(version: tuple[int, int]) -> Mapping[str, Visitor]:
    if version in KNOWN_VERSIONS:
        return VISITORS
    warn_once(version)
    return {}


@cache
def warn_once(version: tuple[int, int]) -> None:
    """Once: every plan of this Polars is as unknown as the first."""
    warnings.warn(
        f"Polars' plan has version {version[0]}.{version[1]}, which column lineage does not know: every "
        "output is taken to depend on every input. Update Headwater, or install Polars 2.1.",
        UnknownPlanWarning,
        stacklevel=4,
    )


def _place(edge: ColumnEdge) -> tuple[str, str, str, str]:
    """The same plan has the same edges in the same order, in every process."""
    return edge.kind, edge.source_dataset, edge.source_column or "", edge.subtype


def _edges(target: str, value: Value, table: Table) -> Iterator[ColumnEdge]:
    direct = value.direct or rows_of(table.datasets, Subtype.IDENTITY).direct
    for source, subtype in direct.items():
        yield ColumnEdge(*source, target, Kind.DIRECT, subtype, source in value.opaque)
    causes = value.causes | table.rows | table.order
    for source, subtype, opaque in causes:
        if opaque and Cause(source, subtype) in causes:
            continue  # the plan shows it elsewhere
        yield ColumnEdge(*source, target, Kind.INDIRECT, subtype, opaque)
