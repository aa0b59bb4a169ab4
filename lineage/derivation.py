"""Column edges as the log says them: DERIVES, from a column, a dataset's rows or a constant of the code."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import polars as pl

from .columns import ColumnEdge, Kind, Subtype, trace
from .model import Fact, Node, NodeKind, Transformation, column_node, dataset_node, transformation_node

Facts = Mapping[str, Fact]
Derived = tuple[Node, Node, Facts]
"""Source, target, and how: `direct` (the strongest way), `indirect` (all ways, sorted), `opaque`."""

_STRENGTH = (Subtype.IDENTITY, Subtype.TRANSFORMATION, Subtype.AGGREGATION)


def of_frame(
    frame: pl.LazyFrame, target: str, transformation: Transformation
) -> tuple[list[str], list[Derived]]:
    """The datasets that `frame` reads, and what each column of `target` derives from when it makes it."""
    edges = trace(frame)
    found: dict[tuple[NodeKind, str, str], list[ColumnEdge]] = defaultdict(list)
    nodes: dict[tuple[NodeKind, str], Node] = {}
    for edge in edges:
        source = _source(edge, transformation)
        nodes[source.kind, source.key] = source
        found[source.kind, source.key, edge.target_column].append(edge)
    derived = [
        (nodes[kind, key], column_node(target, column), _facts(alike))
        for (kind, key, column), alike in sorted(found.items())
    ]
    return sorted({edge.source_dataset for edge in edges}), derived


def _source(edge: ColumnEdge, transformation: Transformation) -> Node:
    if edge.source_column is not None:
        return column_node(edge.source_dataset, edge.source_column)
    if edge.subtype is Subtype.IDENTITY:  # no column and no number of rows: the code says the value
        return transformation_node(transformation)
    return dataset_node(edge.source_dataset)


def _facts(edges: Iterable[ColumnEdge]) -> Facts:
    direct = [edge.subtype for edge in edges if edge.kind is Kind.DIRECT]
    indirect = sorted({edge.subtype.value for edge in edges if edge.kind is Kind.INDIRECT})
    facts: dict[str, Fact] = {}
    if direct:
        facts["direct"] = max(direct, key=_STRENGTH.index).value
    if indirect:
        facts["indirect"] = ",".join(indirect)
    if any(edge.opaque for edge in edges):
        facts["opaque"] = True
    return facts
