"""Decimals, from the text of a number to exactly its digits: it is never a double on the way.

* Digits with or without a point, maybe a sign and an exponent (`1.23e1` is 12.3). JSON may give them as a
  number or in quotes. Zeros before all other digits or after them count for nothing, and minus zero is zero.
* Nothing is rounded: digits that the column does not have make the value a fault.

Rules: `NAME.type` (any other text), `NAME.finite` (NaN, an infinity), `NAME.precision` (digits before the
point), `NAME.scale` (digits after it).
"""

from typing import Final

import polars as pl

from tasks.contract import Column, ColumnType, Contract
from tasks.decode import cells

BOTH: Final = "digits"
"""The fault of a number that breaks `precision` and `scale`."""

_VALUE: Final = ".value"
_NUMBER: Final = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_ENDLESS: Final = r"^(?i:[+-]?(?:nan|inf|infinity))$"
_FURTHEST: Final = 10**9
"""Of exponents: beyond it nothing changes, for a message has fewer digits."""


def parse(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Replace each decimal's text by its value, and name what was wrong in its fault.

    A column that holds decimals already stays. The rows may come back in another order.
    """
    for column in contract.inputs:
        if column.type is ColumnType.DECIMAL and frame.schema[column.name] == pl.String:
            frame = _parse(frame, column)
    return frame


def _parse(frame: pl.DataFrame, column: Column) -> pl.DataFrame:
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


def _unless_null(column: Column) -> pl.Expr:
    """The value, null where it stands for a missing one."""
    value, said = pl.col(_VALUE), [each for each in column.null_values or () if not isinstance(each, str)]
    if not said:
        return value
    return pl.when(~value.is_in(pl.Series(said, dtype=column.polars_type).implode())).then(value)


def _other_forms(frame: pl.DataFrame, column: Column) -> pl.DataFrame:
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
    known = pl.col(cells.fault(name)) if cells.fault(name) in frame.columns else pl.lit(None, pl.String)
    fault = pl.coalesce(known, pl.when(value.is_null()).then(_fault(name, text)))
    rest = rest.with_columns(negative.cast(column.polars_type).alias(_VALUE), fault.alias(cells.fault(name)))
    return rest.select(list(dict.fromkeys([*frame.columns, cells.fault(name)])))


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
