"""Nodes that turn columns into rows or rows into columns; Polars calls them map functions."""

from collections.abc import Callable, Mapping
from typing import Any

from .model import Subtype
from .reader import Reader
from .structs import field
from .values import Table, all_causes, caused, merge, raised, rows_of


def map_function(reader: Reader, node: Any, inputs: list[Table], schema: Mapping[str, Any]) -> Table:
    [table] = inputs
    name, *arguments = node.function
    if name == "unnest":
        reader.traverser.set_node(node.input)
        return _unnest(table, arguments, reader.traverser.get_schema())
    if name not in _RESHAPERS:
        raise NotImplementedError(name)
    return _RESHAPERS[name](table, arguments)


def _unnest(table: Table, arguments: list[Any], before: Mapping[str, Any]) -> Table:
    """Structs become their fields, in place."""
    structs, separator = arguments[0], arguments[1]
    columns = {}
    for name, value in table.columns.items():
        if name not in structs:
            columns[name] = value
            continue
        for part in before[name].fields:
            target = part.name if separator is None else f"{name}{separator}{part.name}"
            columns[target] = field(value, part.name)
    return table._replace(columns=columns)


def _explode(table: Table, arguments: list[Any]) -> Table:
    """Every row is repeated for each item of its lists, as a join with the items would."""
    exploded = arguments[0]
    lists = all_causes((table.columns[name] for name in exploded), Subtype.JOIN)
    changed = {name: raised(table.columns[name], Subtype.TRANSFORMATION) for name in exploded}
    return table._replace(columns={**table.columns, **changed}, rows=table.rows | lists)


def _unpivot(table: Table, arguments: list[Any]) -> Table:
    """Columns become rows: the value is from all of them, the variable from their names alone."""
    index, on, variable, value = arguments
    columns = {name: table.columns[name] for name in index}
    columns[variable] = rows_of(table.datasets, Subtype.IDENTITY)._replace(scalar=False)
    columns[value] = merge([table.columns[name] for name in on], Subtype.IDENTITY)
    return table._replace(columns=columns)


def _row_index(table: Table, arguments: list[Any]) -> Table:
    """A row's number is its place: what uses it depends on the order, even where the rows' does not."""
    number = rows_of(table.datasets, Subtype.TRANSFORMATION)._replace(scalar=False)
    return table._replace(columns={arguments[0]: caused(number, table.order), **table.columns})


def _same(table: Table, arguments: list[Any]) -> Table:
    return table


_RESHAPERS: Mapping[str, Callable[[Table, list[Any]], Table]] = {
    "explode": _explode,
    "hint_sorted": _same,
    "rechunk": _same,
    "row_index": _row_index,
    "unpivot": _unpivot,
}
