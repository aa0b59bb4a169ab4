"""`decimal`: from the text of a number to exactly its digits: it is never a double on the way.

* Digits with or without a point, maybe a sign and an exponent (`1.23e1` is 12.3). JSON may give them as a
  number or in quotes. Zeros before all other digits or after them count for nothing, and minus zero is zero.
* Nothing is rounded: digits that the column does not have make the value a fault.

Rules: `NAME.type` (any other text), `NAME.finite` (NaN, an infinity), `NAME.precision` (digits before the
point), `NAME.scale` (digits after it).
"""

import decimal
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from tasks.exact_numbers import fits
from tasks.types import companions
from tasks.types.json_number import NUMBER, QUOTED, is_non_finite
from tasks.types.text import read_text
from tasks.types.type import NONE, Cell, Digits, Type

if TYPE_CHECKING:
    from tasks.contract import Column

BOTH: Final = "digits"
"""The fault of a number that breaks `precision` and `scale`."""

_VALUE: Final = ".value"
_NUMBER: Final = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_ENDLESS: Final = r"^(?i:[+-]?(?:nan|inf|infinity))$"
_FURTHEST: Final = 10**9
"""Of exponents: beyond it nothing changes, for a message has fewer digits."""


class Decimal(Type):
    name = "decimal"
    said = "a decimal number"
    is_number = True
    rules = ("minimum", "maximum", "one_of")
    unread = {"finite": "is not a finite number"}  # noqa: RUF012 - nobody changes it
    cell = pl.String()
    has_digits = True
    captured = {"text": QUOTED, "number": f"({NUMBER})"}  # noqa: RUF012 - nobody changes it
    endless = "finite"
    plain = (str, NONE)

    def polars(self, digits: Digits) -> pl.DataType:
        return pl.Decimal(*digits)

    def postgres(self, digits: Digits) -> str:
        return "numeric({},{})".format(*digits)

    def takes(self, value: object, digits: Digits) -> bool:
        return fits(value, *digits)

    def wanted(self, digits: Digits) -> str:
        precision, scale = digits
        return f"a number of at most {precision - scale} digits before the point and {scale} after it"

    def from_json(self, value: Any) -> Cell:
        """The text of a number, or of what is none; NaN and the infinities have no digits."""
        return (None, "finite") if is_non_finite(value) else read_text(value)

    def from_text(self, value: pl.Expr, name: str) -> list[pl.Expr]:
        return [value.alias(name)]

    def from_typed(self, column: "Column", value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr] | None:
        """From decimals, whole numbers and texts; a double is none."""
        if dtype.is_integer() or dtype.is_decimal() or dtype == pl.String:
            return [value.cast(pl.String).alias(column.name)]
        return None

    def parse(self, frame: pl.DataFrame, column: "Column") -> pl.DataFrame:
        """Replace the column's text by its value, and name what was wrong in its fault."""
        return _parse(frame, column)

    def from_key(self, value: Any) -> Any:
        """A value with more digits than its column is the key of no row; NaN is the key of none at all."""
        try:
            found = decimal.Decimal(str(value))
        except decimal.InvalidOperation as error:
            raise ValueError(value) from error
        if not found.is_finite():
            raise ValueError(value)
        return found

    def as_json(self, value: pl.Expr) -> pl.Expr:
        """In quotes: most readers of JSON would take a double for a number."""
        return pl.format('"{}"', value.cast(pl.String))


def _parse(frame: pl.DataFrame, column: "Column") -> pl.DataFrame:
    """Most numbers are written as the column has them, and read at once; only the rest costs more."""
    name, text = column.name, pl.col(column.name)
    plain = pl.when(text.str.contains(_plain(*column.digits))).then(text).cast(column.polars_type)
    read = frame.with_columns(plain.alias(_VALUE))
    unread = read[_VALUE].is_null() & read[name].is_not_null()
    if unread.any():
        rest = _other_forms(read.filter(unread), column)
        read = pl.concat([read.filter(~unread), rest], how="diagonal")
    return read.with_columns(_unless_null(column).alias(name)).drop(_VALUE)


def _plain(precision: int, scale: int) -> str:
    before = "0" if precision == scale else f"(?:0|[1-9][0-9]{{0,{precision - scale - 1}}})"
    return rf"^-?{before}(?:\.[0-9]{{1,{scale}}})?$" if scale else f"^-?{before}$"


def _unless_null(column: "Column") -> pl.Expr:
    """The value, null where it stands for a missing one."""
    value, said = pl.col(_VALUE), [each for each in column.null_values or () if not isinstance(each, str)]
    if not said:
        return value
    return pl.when(~value.is_in(pl.Series(said, dtype=column.polars_type).implode())).then(value)


def _other_forms(frame: pl.DataFrame, column: "Column") -> pl.DataFrame:
    """Numbers in any form. What counts are the digits between the first and the last that is not zero.

    Its steps are columns of their own: a point that is far away must not make a text of many zeros.
    """
    name, text = column.name, pl.col(column.name)
    precision, scale = column.digits
    mantissa = text.str.extract(r"^[+-]?([0-9.]*)")
    significant = mantissa.str.replace(".", "", literal=True).str.strip_chars_start("0")
    before = mantissa.str.extract(r"^([0-9]*)").str.len_bytes().cast(pl.Int64)
    skipped = mantissa.str.count_matches("[0-9]").cast(pl.Int64) - significant.str.len_bytes().cast(pl.Int64)
    rest = frame.rechunk().with_columns(
        significant.str.strip_chars_end("0").alias(".digits"),
        (before - skipped + _exponent(text)).alias(".point"),  # so many digits are before the point
        text.str.contains(_NUMBER).alias(".number"),
    )
    count, point = pl.col(".digits").str.len_bytes().cast(pl.Int64), pl.col(".point")
    rest = rest.with_columns(
        ((count > 0) & (point > precision - scale)).alias(".long before"),
        ((count > 0) & (count - point > scale)).alias(".long after"),
    )
    good = pl.col(".number") & ~pl.col(".long before") & ~pl.col(".long after")
    rest = rest.with_columns(pl.when(good).then(_written(point, scale)).alias(".written"))
    value = pl.col(".written")
    negative = pl.when(text.str.starts_with("-")).then(value.str.replace("^", "-")).otherwise(value)
    beside = companions.fault(name)
    known = pl.col(beside) if beside in frame.columns else pl.lit(None, pl.String)
    fault = pl.coalesce(known, pl.when(value.is_null()).then(_fault(name, text)))
    rest = rest.with_columns(negative.cast(column.polars_type).alias(_VALUE), fault.alias(beside))
    return rest.select(list(dict.fromkeys([*frame.columns, beside])))


def _exponent(text: pl.Expr) -> pl.Expr:
    """The number after the `e`, 0 where there is none."""
    said = text.str.extract(r"[eE]([+-]?[0-9]+)$").str.strip_prefix("+")
    beyond = pl.when(said.str.starts_with("-")).then(-_FURTHEST).otherwise(_FURTHEST)
    number = pl.coalesce(said.cast(pl.Int64, strict=False), pl.when(said.is_not_null()).then(beyond))
    return number.clip(-_FURTHEST, _FURTHEST).fill_null(0)


def _written(point: pl.Expr, scale: int) -> pl.Expr:
    """The digits, with zeros up to the last place of the column and the point in its place."""
    places = pl.when(pl.col(".digits") == "").then(0).otherwise(point + scale).clip(0, pl.lit(None))
    padded = pl.col(".digits").str.pad_end(places, "0").str.pad_start(scale + 1, "0")
    return padded.str.replace(rf"^([0-9]+)([0-9]{{{scale}}})$", "${1}.${2}") if scale else padded


def _fault(name: str, text: pl.Expr) -> pl.Expr:
    kinds = {
        "finite": text.str.contains(_ENDLESS),
        "type": ~pl.col(".number"),
        BOTH: pl.col(".long before") & pl.col(".long after"),
        "precision": pl.col(".long before"),
        "scale": pl.col(".long after"),
    }
    broken = [pl.when(is_broken).then(pl.lit(f"{name}.{kind}")) for kind, is_broken in kinds.items()]
    return pl.coalesce(broken)
