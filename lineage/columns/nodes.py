"""What each node of a plan makes of its inputs: one function for each kind of node."""

from collections.abc import Callable, Mapping
from typing import Any

from .beside import lengths, placed, stored
from .expressions import Expressions
from .joins import join
from .model import Subtype
from .reader import Reader
from .reshaping import map_function
from .values import (
    NO_CAUSES,
    Causes,
    Table,
    Value,
    all_causes,
    assumed,
    caused,
    merge,
    raised,
    union,
)

Visitor = Callable[[Reader, Any, list[Table], Mapping[str, Any]], Table]
"""(reader, node, inputs, schema of the output) → output."""


def _over(reader: Reader, node: Any, table: Table) -> Expressions:
    """Reads the expressions of `node` over its only input."""
    reader.traverser.set_node(node.input)
    return Expressions(reader, table)


def _same(_: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    return table


def _project(_: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    return table._replace(columns={name: table.columns[name] for name in schema})


def _select(reader: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    columns = placed(_over(reader, node, table).named(node.expr), table.order)
    order = NO_CAUSES if all(value.scalar for value in columns.values()) else table.order
    rows = table.rows | lengths(list(columns.values()))
    return table._replace(columns=stored(columns), rows=rows, order=order)


def _with_columns(reader: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    added = _over(reader, node, table).named(node.exprs)
    columns = placed({**table.columns, **added}, table.order)
    return table._replace(columns=stored(columns))


def _filter(reader: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    predicate = _over(reader, node, table).root(node.predicate)
    return table._replace(rows=table.rows | all_causes([predicate], Subtype.FILTER))


def _sort(reader: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    by = all_causes(_over(reader, node, table).named(node.by_column).values(), Subtype.SORT)
    return table._replace(order=table.order | by)


def _slice(_: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    """Which rows are first depends on the order."""
    [table] = inputs
    return table._replace(rows=table.rows | table.order)


def _distinct(_: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    subset = node.options[1] or list(table.columns)
    rows = table.rows | all_causes((table.columns[name] for name in subset), Subtype.FILTER)
    return table._replace(rows=rows | table.order)


def _group_by(reader: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    expressions = _over(reader, node, table)
    keys = expressions.named(node.keys)
    made = expressions.named(node.aggs)
    ordered = {n: v if v.scalar else caused(v, table.order) for n, v in made.items()}
    index, by = _index(node.options, table)
    rows = table.rows | all_causes(keys.values(), Subtype.GROUP_BY) | by
    order = table.order if node.maintain_order else NO_CAUSES
    columns = {**keys, **index, **ordered}
    return Table(stored(columns), table.datasets, rows, order)


def _index(options: Any, table: Table) -> tuple[dict[str, Value], Causes]:
    """The column that windows in time or in rows are cut by, and their bounds."""
    if options.rolling is not None:
        name = options.rolling.index_column
        return {name: table.columns[name]}, all_causes([table.columns[name]], Subtype.WINDOW)
    if options.dynamic is not None:
        name = options.dynamic.index_column
        start = raised(table.columns[name], Subtype.TRANSFORMATION)
        columns = {name: start}
        if options.dynamic.include_boundaries:
            columns |= {"_lower_boundary": start, "_upper_boundary": start}
        return columns, all_causes([start], Subtype.GROUP_BY)
    return {}, NO_CAUSES


def _join(reader: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    joined = join(reader, node, *inputs)
    if node.predicate is None:
        return joined
    predicate = Expressions(reader, joined).root(node.predicate)
    return joined._replace(rows=joined.rows | all_causes([predicate], Subtype.JOIN))


def _union(_: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    """One below the other, by position."""
    stacked = zip(*(table.columns.values() for table in inputs), strict=True)
    columns = {name: merge(list(values)) for name, values in zip(schema, stacked, strict=True)}
    return _together(inputs, columns)


def _side_by_side(_: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    """Each keeps its own order; the shorter are filled to the length of the longest."""
    columns: dict[str, Value] = {}
    for table in inputs:
        columns |= {name: caused(value, table.order) for name, value in table.columns.items()}
    return _together(inputs, columns)._replace(order=NO_CAUSES)


def _merge_sorted(_: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    merged = _union(_, node, inputs, schema)
    keys = all_causes((merged.columns[name] for name in node.key), Subtype.SORT)
    return merged._replace(order=merged.order | keys)


def _gather(_: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    """Rows by their numbers, which are the second input."""
    table, numbers = inputs
    chosen = all_causes(numbers.columns.values(), Subtype.FILTER)
    return table._replace(rows=table.rows | table.order | chosen | numbers.rows, order=numbers.order)


def _together(inputs: list[Table], columns: dict[str, Value]) -> Table:
    return Table(
        columns,
        frozenset[str]().union(*(table.datasets for table in inputs)),
        union(table.rows for table in inputs),
        union(table.order for table in inputs),
    )


def hidden(inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    """A node that we cannot read: every output may depend on every input."""
    value = assumed(inputs)
    datasets = frozenset[str]().union(*(table.datasets for table in inputs))
    return Table(dict.fromkeys(schema, value._replace(lengths=NO_CAUSES)), datasets, value.lengths)


VISITORS: Mapping[str, Visitor] = {
    "Cache": _same,
    "Distinct": _distinct,
    "Filter": _filter,
    "Gather": _gather,
    "GroupBy": _group_by,
    "HConcat": _side_by_side,
    "HStack": _with_columns,
    "Join": _join,
    "MapFunction": map_function,
    "MergeSorted": _merge_sorted,
    "Reduce": _select,
    "Select": _select,
    "SimpleProjection": _project,
    "Sink": _same,
    "Slice": _slice,
    "Sort": _sort,
    "Union": _union,
}
