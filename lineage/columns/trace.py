"""From a frame to its edges."""

import warnings
from collections.abc import Iterator, Mapping
from functools import cache

import polars as pl

from .model import ColumnEdge, Kind, Subtype, UnknownPlanWarning
from .nodes import VISITORS, Visitor
from .plan import Plan, traverser_of
from .values import Cause, Table, Value

KNOWN_VERSIONS = frozenset([(16, 0)])
"""Those of Polars' plan, (major, minor): 16.0 is Polars 2.1's."""


def trace(frame: pl.LazyFrame) -> tuple[ColumnEdge, ...]:
    """The edges of every column of `frame`, back to the nearest named datasets.

    The plan alone is read, so the cost does not depend on the data. A frame in memory without a name
    is `memory:1`, `memory:2`, … by its place in the plan.
    """
    traverser = traverser_of(frame)
    table = Plan(frame, traverser, _visitors(traverser.version())).output()
    return tuple(edge for target, value in table.columns.items() for edge in _edges(target, value, table))


def _visitors(version: tuple[int, int]) -> Mapping[str, Visitor]:
    if version in KNOWN_VERSIONS:
        return VISITORS
    _warn(version)
    return {}


@cache
def _warn(version: tuple[int, int]) -> None:
    """Once: every plan of this Polars is as unknown as the first."""
    warnings.warn(
        f"Polars' plan has version {version[0]}.{version[1]}, which column lineage does not know: every "
        "output is taken to depend on every input. Update Headwater, or install Polars 2.1.",
        UnknownPlanWarning,
        stacklevel=4,
    )


def _edges(target: str, value: Value, table: Table) -> Iterator[ColumnEdge]:
    direct = value.direct or {(dataset, None): Subtype.IDENTITY for dataset in table.datasets}
    for (dataset, column), subtype in direct.items():
        yield ColumnEdge(
            dataset, column, target, Kind.DIRECT, subtype, (dataset, column) in value.opaque
        )
    causes = value.causes | table.rows | table.order
    for (dataset, column), subtype, opaque in causes:
        if opaque and Cause((dataset, column), subtype) in causes:
            continue  # the plan shows it elsewhere
        yield ColumnEdge(dataset, column, target, Kind.INDIRECT, subtype, opaque)
