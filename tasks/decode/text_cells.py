"""Text to typed cells, as a file or a topic writes values: one way for each type of column.

A number has a point, maybe a sign and an exponent, and no spaces; `true` and `false` are truth values. A
timestamp of digits alone is seconds or milliseconds, as in JSON. What cannot be read is a fault of its cell.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import orjson
import polars as pl
from pydantic_core import from_json

from tasks.contract import ColumnType
from tasks.decode import cells

_WHOLE: Final = float(1 << 53)  # from here on two whole numbers may be one double
_LARGE: Final = re.compile(r"[0-9]{19}")  # digits that may be an integer beyond 64 bits
_NUMBER: Final = r"^[+-]?[0-9]+(?:\.[0-9]+)?$"


def no_cell(value: pl.Expr, name: str, kind: str) -> list[pl.Expr]:
    """No cell, and a fault wherever there is a value."""
    return [pl.lit(None).alias(name), fault(name, kind, value.is_not_null())]


def fault(name: str, kind: str, broken: pl.Expr) -> pl.Expr:
    return pl.when(broken).then(pl.lit(f"{name}.{kind}")).alias(cells.fault(name))


def _text(value: pl.Expr, name: str) -> list[pl.Expr]:
    return [value.alias(name)]


def _float(value: pl.Expr, name: str) -> list[pl.Expr]:
    number = value.cast(pl.Float64, strict=False)
    unread = pl.when(number.is_null() & value.is_not_null()).then(pl.lit(f"{name}.type"))
    endless = unread.when(~number.is_finite()).then(pl.lit(f"{name}.finite"))
    return [pl.when(number.is_finite()).then(number).alias(name), endless.alias(cells.fault(name))]


def _integer(value: pl.Expr, name: str) -> list[pl.Expr]:
    number, decimal = value.cast(pl.Int64, strict=False), value.cast(pl.Float64, strict=False)
    whole = pl.when(decimal.abs() < _WHOLE).then(decimal).cast(pl.Int64, strict=False)
    found = pl.coalesce(pl.when(decimal == decimal.floor()).then(pl.coalesce(number, whole)))
    large = value.is_not_null() & (decimal == decimal.floor()) & decimal.is_finite()
    kind = pl.when(large).then(pl.lit(f"{name}.range")).otherwise(pl.lit(f"{name}.type"))
    fault = pl.when(found.is_null() & value.is_not_null()).then(kind)
    return [found.alias(name), fault.alias(cells.fault(name))]


def _truth(value: pl.Expr, name: str) -> list[pl.Expr]:
    known = value.is_in(["true", "false"])
    return [pl.when(known).then(value == "true").alias(name), fault(name, "type", ~known)]


def _time(value: pl.Expr, name: str) -> list[pl.Expr]:
    digits = value.str.contains(_NUMBER)
    epoch = pl.when(digits).then(value).cast(pl.Float64, strict=False)
    return [pl.when(~digits).then(value).alias(name), epoch.alias(cells.epoch(name))]


def _json(value: pl.Expr, name: str) -> list[pl.Expr]:
    canonical = value.map_elements(_canonical_json, return_dtype=pl.String)
    return [canonical.alias(name), fault(name, "json", value.is_not_null() & canonical.is_null())]


def _canonical_json(text: str) -> str | None:
    """The text that the strict reader would keep; None where it is no JSON or holds a NUL."""
    try:
        value = orjson.loads(text)
        if _LARGE.search(text):
            value = from_json(text)  # orjson takes an integer beyond 64 bits for a double
        written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (ValueError, TypeError):  # no JSON, or nested too deep to be read exactly; not to be written
        return None
    return None if "\\u0000" in written else written


CELLS: Final[Mapping[ColumnType, Callable[[pl.Expr, str], list[pl.Expr]]]] = {
    ColumnType.TEXT: _text,
    ColumnType.FLOAT: _float,
    ColumnType.INTEGER: _integer,
    ColumnType.DECIMAL: _text,  # `decimals.py` reads it
    ColumnType.BOOLEAN: _truth,
    ColumnType.TIMESTAMP: _time,
    ColumnType.JSON: _json,
}
