"""How each of Polars' functions treats its input: by row, over the rows in order, or as a whole.

A function that is in none of these sets is new to us, and what it returns is marked opaque.
"""

from enum import Enum, auto
from typing import Any

from .model import Subtype
from .values import NO_CAUSES, Causes, Value, all_causes, caused, causes_of, merge, raised, union


class Shape(Enum):
    """What a function returns for a column of values."""

    ROW = auto()  # one value for each, from that row alone: the order does not matter
    ORDERED = auto()  # one value for each, from its neighbours or its place too
    SCALAR = auto()  # one value for all, whatever their order
    ORDERED_SCALAR = auto()  # one value for all, and their order decides it
    SELECTION = auto()  # as many values as the data has it
    SIZED = auto()  # as many values as the other arguments say


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ROW = _words("""
    abs arccos arccosh arcsin arcsinh arctan arctanh as_list as_struct atan2 cbrt ceil clip coalesce
    cos cosh cot cut degrees dynamic_pred exp fill_null floor fused hash log log1p max_horizontal
    mean_horizontal min_horizontal negate one pow radians rechunk reinterpret repeat_by replace
    replace_strict round round_sig_figs set_sorted sign sin sinh sqrt sum_horizontal tan tanh to_physical
    truncate zero
""")
_ORDERED = _words("""
    arg_sort backward cum_count cum_max cum_min cum_prod cum_sum diff fill_null_with_strategy forward
    interpolate interpolate_by pct_change peak_max peak_min qcut rank reverse rle_id shift shift_and_fill
    shuffle
""")
_SCALAR = _words("approx_n_unique corr entropy kurtosis null_count product quantile skew")
_ORDERED_SCALAR = _words("arg_max arg_min index_of max_by min_by")
_SELECTION = _words("""
    arg_unique argwhere concat drop_nans drop_nulls hist mode rle unique unique_counts
    value_counts
""")
_SIZED = _words("extend_constant gather_every repeat sample search_sorted top_k top_k_by")

_NAMED = {
    **dict.fromkeys(_ROW, Shape.ROW),
    **dict.fromkeys(_ORDERED, Shape.ORDERED),
    **dict.fromkeys(_SCALAR, Shape.SCALAR),
    **dict.fromkeys(_ORDERED_SCALAR, Shape.ORDERED_SCALAR),
    **dict.fromkeys(_SELECTION, Shape.SELECTION),
    **dict.fromkeys(_SIZED, Shape.SIZED),
}
_FAMILIES = {
    "ArrayFunction": Shape.ROW,
    "BitwiseFunction": Shape.ROW,
    "BooleanFunction": Shape.ROW,
    "EwmFunction": Shape.ORDERED,
    "ListFunction": Shape.ROW,
    "RangeFunction": Shape.ROW,
    "RollingFunction": Shape.ORDERED,
    "RollingFunctionBy": Shape.ORDERED,
    "StringFunction": Shape.ROW,
    "StructFunction": Shape.ROW,
    "TemporalFunction": Shape.ROW,
}
_EXCEPTIONS = {
    "ArrayFunction.Explode": Shape.SELECTION,
    "BitwiseFunction.And": Shape.SCALAR,
    "BitwiseFunction.Or": Shape.SCALAR,
    "BitwiseFunction.Xor": Shape.SCALAR,
    "BooleanFunction.All": Shape.SCALAR,
    "BooleanFunction.Any": Shape.SCALAR,
    "BooleanFunction.HasNulls": Shape.SCALAR,
    "BooleanFunction.IsEmpty": Shape.SCALAR,
    "BooleanFunction.IsFirstDistinct": Shape.ORDERED,
    "BooleanFunction.IsLastDistinct": Shape.ORDERED,
    "BooleanFunction.IsSorted": Shape.ORDERED_SCALAR,
    "RangeFunction.DateRange": Shape.SELECTION,
    "RangeFunction.DatetimeRange": Shape.SELECTION,
    "RangeFunction.IntRange": Shape.SELECTION,
    "RangeFunction.LinearSpace": Shape.SELECTION,
    "RangeFunction.TimeRange": Shape.SELECTION,
    "StringFunction.ConcatVertical": Shape.ORDERED_SCALAR,
}

UNORDERED_AGGREGATES = _words("min max median n_unique mean sum count std var")
"""The rest (`first`, `last`, `item`, `implode`, …) see the order of the rows."""

ROWWISE_HIDDEN = frozenset(
    ["binary expr", "business", "categorical expr", "extension expr", "fold", "list.eval", "reduce"]
)
"""What the plan hides, but that is known to return as many values as it gets."""


def function_name(data: Any) -> str:
    """`data` is Polars' description: a name or an enum's member, alone or with options behind it."""
    head, options = (data[0], data[1:]) if isinstance(data, tuple) else (data, ())
    if head == "arg_max" and options:
        return "arg_sort"  # Polars exports `arg_sort` under the wrong name, with its options
    return head if isinstance(head, str) else repr(head)


_DECIDERS = {"max_by": 1, "min_by": 1, "top_k_by": 2}
"""From which argument on a function is told by what to choose."""

_SCALARS = (Shape.SCALAR, Shape.ORDERED_SCALAR)
_IN_ORDER = (Shape.ORDERED, Shape.ORDERED_SCALAR, Shape.SELECTION, Shape.SIZED)


def returned(name: str, inputs: list[Value], order: Causes) -> Value | None:
    """What function `name` makes of its inputs over rows in `order`; None for one that we do not know."""
    if name.startswith("RollingFunctionBy."):
        by = all_causes(inputs[1:], Subtype.WINDOW)
        return caused(raised(inputs[0], Subtype.TRANSFORMATION), by)
    shape = _NAMED.get(name) or _EXCEPTIONS.get(name) or _FAMILIES.get(name.partition(".")[0])
    if shape is None:
        return None
    value = merge(
        inputs[: _DECIDERS.get(name)], Subtype.AGGREGATION if shape in _SCALARS else Subtype.TRANSFORMATION
    )
    if name in _DECIDERS:
        value = caused(value, all_causes(inputs[_DECIDERS[name] :], Subtype.SORT))
    if shape in _IN_ORDER:
        value = caused(value, order)
    return _sized(value, shape, inputs)


def _sized(value: Value, shape: Shape, inputs: list[Value]) -> Value:
    """The value with what decides how many of it there are."""
    if shape in _SCALARS:
        return value._replace(scalar=True, lengths=NO_CAUSES)
    if shape is Shape.SELECTION:
        return value._replace(scalar=False, lengths=causes_of(value, Subtype.FILTER))
    if shape is Shape.SIZED:
        sizes = all_causes(inputs[1:], Subtype.FILTER)
        return value._replace(scalar=False, lengths=union(one.lengths for one in inputs) | sizes)
    return value
