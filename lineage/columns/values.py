"""What a value depends on, and how dependencies combine."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .model import Subtype


class Source(NamedTuple):
    """A column of a dataset; `column` is None for its rows as such, and for constants."""

    dataset: str
    column: str | None


class Cause(NamedTuple):
    """A source that decides which value or which row: an INDIRECT edge in the making."""

    source: Source
    subtype: Subtype
    opaque: bool = False


Causes = frozenset[Cause]
NO_CAUSES: Causes = frozenset()
NO_SOURCES: frozenset[Source] = frozenset()

_STRENGTH = {Subtype.IDENTITY: 0, Subtype.TRANSFORMATION: 1, Subtype.AGGREGATION: 2}


class Value(NamedTuple):
    """A column, or an expression on its way to become one.

    direct   what it is made from, and how
    causes   what else decides it
    lengths  what decides how many values there are, where that is not the number of rows
    scalar   one value, repeated for every row
    opaque   those of `direct` that are assumed, because the plan does not show them
    fields   a struct's fields, where they are known one by one
    """

    direct: Mapping[Source, Subtype]
    causes: Causes = NO_CAUSES
    lengths: Causes = NO_CAUSES
    scalar: bool = False
    opaque: frozenset[Source] = NO_SOURCES
    fields: "Mapping[str, Value] | None" = None


class Table(NamedTuple):
    """The output of one node of a plan.

    rows and order are what decides which rows there are and how they are sorted: they reach every
    column. They are kept apart because an aggregate is made from the rows whatever their order.
    """

    columns: dict[str, Value]
    datasets: frozenset[str]
    rows: Causes = NO_CAUSES
    order: Causes = NO_CAUSES


def column(dataset: str, name: str | None) -> Value:
    return Value({Source(dataset, name): Subtype.IDENTITY})


def rows_of(datasets: Iterable[str], subtype: Subtype) -> Value:
    """One value that no column decides: a constant, or a number of rows."""
    return Value({Source(dataset, None): subtype for dataset in datasets}, scalar=True)


def causes_of(value: Value, subtype: Subtype) -> Causes:
    """What decides, when `value` decides: its sources as `subtype`, and its own causes."""
    opaque = value.opaque
    found = {Cause(s, subtype, s in opaque) for s in value.direct if s.column is not None}
    return value.causes | found if found else value.causes


def all_causes(values: Iterable[Value], subtype: Subtype) -> Causes:
    return union(causes_of(value, subtype) for value in values)


def union(sets: Iterable[Causes]) -> Causes:
    return NO_CAUSES.union(*sets)


def merge(values: list[Value], at_least: Subtype = Subtype.IDENTITY) -> Value:
    """A value made from all of `values`. Rows and constants count only where there is no column."""
    if len(values) == 1:
        return raised(values[0], at_least)
    direct: dict[Source, Subtype] = {}
    for value in values:
        for source, subtype in value.direct.items():
            direct[source] = stronger(stronger(subtype, at_least), direct.get(source, at_least))
    if any(source.column is not None for source in direct):
        direct = {source: how for source, how in direct.items() if source.column is not None}
    return Value(
        direct,
        union(value.causes for value in values),
        union(value.lengths for value in values),
        all(value.scalar for value in values),
        _opaque_in(values),
    )


def _opaque_in(values: list[Value]) -> frozenset[Source]:
    """Assumed by some, and shown by none."""
    opaque = NO_SOURCES.union(*(value.opaque for value in values))
    if not opaque:
        return opaque
    return opaque.difference(*(value.direct.keys() - value.opaque for value in values))


def raised(value: Value, at_least: Subtype) -> Value:
    """The value, computed on: no longer what it was, nor a struct whose fields are known."""
    if at_least is Subtype.IDENTITY:
        return value
    direct = {source: stronger(subtype, at_least) for source, subtype in value.direct.items()}
    return value._replace(direct=direct, fields=None)


def stronger(one: Subtype, other: Subtype) -> Subtype:
    return one if _STRENGTH[one] >= _STRENGTH[other] else other


def caused(value: Value, causes: Causes) -> Value:
    """The value, decided also by `causes`; so are its fields."""
    if causes <= value.causes:
        return value
    fields = value.fields
    if fields is not None:
        fields = {name: caused(field, causes) for name, field in fields.items()}
    return value._replace(causes=value.causes | causes, fields=fields)


def assumed(tables: Iterable[Table], subtype: Subtype = Subtype.FILTER) -> Value:
    """A value that may depend on everything in `tables`; its length too."""
    tables = list(tables)
    inputs = [value for table in tables for value in table.columns.values()]
    everything = merge(inputs, Subtype.TRANSFORMATION) if inputs else Value({})
    opaque = frozenset(everything.direct)
    seen = union(table.rows | table.order for table in tables)
    made = everything._replace(opaque=opaque, causes=everything.causes | seen, scalar=False, fields=None)
    return made._replace(lengths=causes_of(made, subtype))
