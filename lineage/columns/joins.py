"""Joins: which of the output's columns come from where, and what decides its rows."""

from typing import Any, NamedTuple

from .expressions import Expressions
from .model import Subtype
from .reader import Reader
from .values import Causes, Table, Value, all_causes, caused, merge


class Join(NamedTuple):
    """A join as the plan describes it; the keys are names, and empty where a key is computed."""

    how: str
    suffix: str
    coalesce: bool
    left_keys: list[str]
    right_keys: list[str]


def join(reader: Reader, node: Any, left: Table, right: Table) -> Table:
    how = node.options[0]
    by: list[tuple[str, str]] = []
    if isinstance(how, tuple):
        if how[0] == "AsOf":
            by = list(zip(how[4] or [], how[5] or [], strict=True))
        how = how[0]
    keys = _keys(reader, node.input_left, node.left_on, left)
    keys |= _keys(reader, node.input_right, node.right_on, right)
    for left_name, right_name in by:
        keys |= all_causes([left.columns[left_name], right.columns[right_name]], Subtype.JOIN)
    described = Join(
        how,
        node.options[3],
        node.options[4],
        [*(key.output_name for key in node.left_on), *(pair[0] for pair in by)],
        [*(key.output_name for key in node.right_on), *(pair[1] for pair in by)],
    )
    return _matched(described, left, right, keys)


def _keys(reader: Reader, number: int, keys: list[Any], table: Table) -> Causes:
    reader.traverser.set_node(number)
    return all_causes(Expressions(reader, table).named(keys).values(), Subtype.JOIN)


def _matched(described: Join, left: Table, right: Table, keys: Causes) -> Table:
    datasets = left.datasets | right.datasets
    if described.how == "AsOf":  # at most one match for each row of the left: its rows stay as they are
        decided = keys | right.rows | right.order
        found = {name: caused(value, decided) for name, value in right.columns.items()}
        columns = _columns(described, left.columns, found)
        return Table(columns, datasets, left.rows, left.order)
    rows = left.rows | right.rows | keys
    if described.how in ("Semi", "Anti"):
        return Table(left.columns, left.datasets, rows, left.order)
    columns = _columns(described, left.columns, right.columns)
    return Table(columns, datasets, rows, left.order | right.order)


def _columns(described: Join, left: dict[str, Value], right: dict[str, Value]) -> dict[str, Value]:
    """The output's columns: a coalesced key appears once, a name that is taken gets the suffix."""
    columns, added = dict(left), dict(right)
    if described.coalesce and described.how == "Right":
        for name in described.left_keys:
            columns.pop(name, None)
    elif described.coalesce:
        for name, other in zip(described.left_keys, described.right_keys, strict=True):
            value = added.pop(other, None)
            if described.how == "Full" and value is not None:
                columns[name] = merge([columns[name], value])
    for name, value in added.items():
        columns[f"{name}{described.suffix}" if name in columns else name] = value
    return columns
