"""Decimal numbers as a contract says them: the digits that are written, and never a double on the way.

A column takes `precision` digits, `scale` of them after the point. A value is its Decimal with exactly
`scale` digits after the point, so that `0.1` and `0.10` are one contract.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any, Final

MOST: Final = 38
"""Digits: what Polars, Arrow and Parquet keep in 128 bits."""

_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WIDE: Final = Context(prec=1_000, traps=[])
"""Python's own context rounds to 28 digits whatever is computed."""
_ONE: Final = ("minimum", "maximum", "default", "constant")


def numbers_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a column, with its numbers as its type takes them: exactly, or as doubles."""
    as_taken: Callable[[Any], Any] = _double
    if said.get("type") == "decimal":
        scale = said.get("scale")
        as_taken = lambda value: scaled(exact(value), scale)  # noqa: E731 - one of two
    found = {**said, **{name: as_taken(said[name]) for name in _ONE if name in said}}
    if isinstance(said.get("map"), Mapping):
        found["map"] = {read: as_taken(value) for read, value in said["map"].items()}
    for name in ("one_of", "null_values"):
        is_text = name == "null_values" and said.get("map") is not None  # what a `map` is asked for
        if isinstance(said.get(name), list | tuple) and not is_text:
            found[name] = tuple(map(as_taken, said[name]))
    return found


def exact(value: Any) -> Any:
    """A number, or a text that is one, as the Decimal that was written; anything else as it is.

    The shortest text of a double is what was written, up to 15 digits; of more the file's reader keeps them.
    """
    if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        return value
    if isinstance(value, float):
        return Decimal(repr(value))
    return Decimal(value) if isinstance(value, int | str) else value


def scaled(value: Any, scale: Any) -> Any:
    """A Decimal with so many digits after the point, zero without a sign; as it is where it has more."""
    if not isinstance(value, Decimal) or type(scale) is not int or not 0 <= scale <= MOST:
        return value
    found = value.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
    if not value.is_finite() or found != value:
        return value
    return found if found else found.copy_abs()


def fits(value: object, precision: int, scale: int) -> bool:
    """Whether it is a Decimal that a column of these digits holds as it is."""
    if not isinstance(value, Decimal) or not value.is_finite():
        return False
    has_scale: bool = scaled(value, scale).as_tuple().exponent == -scale
    return has_scale and value.copy_abs() < 10 ** (precision - scale)


def _double(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
