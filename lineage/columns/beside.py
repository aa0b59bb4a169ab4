"""Values side by side: how many there are, and whether those that meet are of the same row.

A value that belongs to a place and not to a row (a number, a sorted column, a filtered one) meets
another row's value in every other order. The sum of their products has no other trace of the order.
"""

from .values import NO_CAUSES, Causes, Value, caused, union


def in_rows(values: list[Value]) -> bool:
    """Whether values side by side are of the same row; what was filtered or exploded is not."""
    columns = [value for value in values if not value.scalar]
    return len(columns) < 2 or not any(value.lengths for value in columns)


def placed(columns: dict[str, Value], order: Causes) -> dict[str, Value]:
    """Columns side by side: where one has lost its rows, the order decides what its values meet."""
    if not order or in_rows(list(columns.values())):
        return columns
    return {name: caused(value, order) if value.lengths else value for name, value in columns.items()}


def lengths(values: list[Value]) -> Causes:
    """What decides how long columns side by side are; one of fixed length decides for the others."""
    if any(not value.scalar and not value.lengths for value in values):
        return NO_CAUSES
    return union(value.lengths for value in values)


def stored(columns: dict[str, Value]) -> dict[str, Value]:
    """A column has the table's length, whatever its expression had."""
    return {
        name: value._replace(scalar=False, lengths=NO_CAUSES) if value.scalar or value.lengths else value
        for name, value in columns.items()
    }
