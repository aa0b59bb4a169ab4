"""Which expressions an expression is made of."""

from typing import Any


def operands(node: Any) -> list[int]:
    """The expressions below `node`, but for a struct's new fields, which are read inside the struct."""
    found: list[int] = []
    for name in _OPERANDS.get(type(node).__name__, ()):
        below = getattr(node, name)
        if below is not None:
            found += below if isinstance(below, list) else [below]
    return found


_OPERANDS = {
    "Agg": ("arguments",),
    "Alias": ("expr",),
    "BinaryExpr": ("left", "right"),
    "Cast": ("expr",),
    "Explode": ("expr",),
    "Filter": ("input", "by"),
    "Function": ("input",),
    "Gather": ("expr", "idx"),
    "Rolling": ("function", "index_column"),
    "Slice": ("input", "offset", "length"),
    "Sort": ("expr",),
    "SortBy": ("expr", "by"),
    "StructEval": ("expr",),
    "Ternary": ("predicate", "truthy", "falsy"),
    "Window": ("function", "partition_by", "order_by"),
}
