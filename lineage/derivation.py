"""Column edges as the log says them: DERIVES, from a column, a dataset's rows or a constant of the code."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from .columns import trace
from .model import Fact, Node, Transformation, column_node, dataset_node, transformation_node

Facts = Mapping[str, Fact]
Derived = tuple[Node, Node, Facts]
"""Source, target, and how: `direct` (the strongest way), `indirect` (all ways, sorted), `opaque`."""

_STRENGTH = ("IDENTITY", "TRANSFORMATION", "AGGREGATION")


def of_frame(frame: pl.LazyFrame, target: str, transformation: Transformation) -> list[Derived]:
    """What each column of dataset `target` derives from, when `frame` makes it."""
    found: dict[tuple[str, str | None, str], list[Any]] = defaultdict(list)
    for edge in trace(frame):
        found[edge.source_dataset, edge.source_column, edge.target_column].append(edge)
    return [
        (_source(edges[0], transformation), column_node(target, column), _facts(edges))
        for (_, _, column), edges in sorted(found.items(), key=lambda item: str(item[0]))
    ]


def datasets(derived: Iterable[Derived]) -> list[str]:
    """The datasets these derivations read, sorted."""
    sources = (source for source, _, _ in derived)
    return sorted(
        {str(node.facts.get("dataset", node.key)) for node in sources if "version" not in node.facts}
    )


def _source(edge: Any, transformation: Transformation) -> Node:
    if edge.source_column is not None:
        return column_node(edge.source_dataset, edge.source_column)
    if edge.subtype == "IDENTITY":  # no column and no number of rows: the code says the value
        return transformation_node(transformation)
    return dataset_node(edge.source_dataset)


def _facts(edges: Iterable[Any]) -> Facts:
    direct = [str(edge.subtype) for edge in edges if edge.kind == "DIRECT"]
    indirect = sorted({str(edge.subtype) for edge in edges if edge.kind != "DIRECT"})
    facts: dict[str, Fact] = {}
    if direct:
        facts["direct"] = max(direct, key=_STRENGTH.index)
    if indirect:
        facts["indirect"] = ",".join(indirect)
    if any(edge.opaque for edge in edges):
        facts["opaque"] = True
    return facts
