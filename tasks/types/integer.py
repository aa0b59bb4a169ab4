"""`integer`: a whole number of 64 bits. JSON may write one below 2^53 as a float without a fraction."""

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from tasks.types import companions
from tasks.types.json_number import WHOLE
from tasks.types.type import Cell, Digits, Type

if TYPE_CHECKING:
    from tasks.contract import Column

_INT64: Final = 1 << 63


class Integer(Type):
    name = "integer"
    said = "a whole number"
    is_number = True
    rules = ("minimum", "maximum", "one_of")
    unread = {"range": "does not fit 64 bits"}  # noqa: RUF012 - nobody changes it
    cell = pl.Int64()
    captured = {"number": "(-?(?:0|[1-9][0-9]{0,17}))"}  # noqa: RUF012 - nobody changes it

    def polars(self, _digits: Digits) -> pl.DataType:
        return pl.Int64()

    def postgres(self, _digits: Digits) -> str:
        return "bigint"

    def takes(self, value: object, _digits: Digits) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64

    def wanted(self, _digits: Digits) -> str:
        return "a whole number of 64 bits"

    def from_json(self, value: Any) -> Cell:
        if type(value) is float and value.is_integer() and abs(value) < WHOLE:
            value = int(value)
        if type(value) is not int:
            return None, "type"
        return (value, None) if -_INT64 <= value < _INT64 else (None, "range")

    def fits_shape(self, _token: str, text: str) -> bool:
        return "." not in text

    def from_text(self, value: pl.Expr, name: str) -> list[pl.Expr]:
        number, decimal = value.cast(pl.Int64, strict=False), value.cast(pl.Float64, strict=False)
        whole = pl.when(decimal.abs() < WHOLE).then(decimal).cast(pl.Int64, strict=False)
        found = pl.coalesce(pl.when(decimal == decimal.floor()).then(pl.coalesce(number, whole)))
        large = value.is_not_null() & (decimal == decimal.floor()) & decimal.is_finite()
        kind = pl.when(large).then(pl.lit(f"{name}.range")).otherwise(pl.lit(f"{name}.type"))
        fault = pl.when(found.is_null() & value.is_not_null()).then(kind)
        return [found.alias(name), fault.alias(companions.fault(name))]

    def from_typed(self, column: "Column", value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr] | None:
        return self.from_text(value, column.name) if dtype.is_numeric() else None

    def from_key(self, value: Any) -> Any:
        return int(value)
