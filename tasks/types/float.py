"""`float`: a finite double. An integer of JSON is one too."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.types import companions
from tasks.types.json_number import NUMBER, is_non_finite, is_number
from tasks.types.type import NONE, Cell, Digits, Type

if TYPE_CHECKING:
    from tasks.contract import Column


class Float(Type):
    name = "float"
    said = "a number"
    is_number = True
    rules = ("minimum", "maximum")
    unread = {"finite": "is not a finite number"}  # noqa: RUF012 - nobody changes it
    cell = pl.Float64()
    captured = {"number": f"({NUMBER})"}  # noqa: RUF012 - nobody changes it
    endless = "finite"
    plain = (float, int, NONE)

    def polars(self, _digits: Digits) -> pl.DataType:
        return pl.Float64()

    def postgres(self, _digits: Digits) -> str:
        return "double precision"

    def takes(self, value: object, _digits: Digits) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)

    def wanted(self, _digits: Digits) -> str:
        return "a number"

    def from_json(self, value: Any) -> Cell:
        if not is_number(value):
            return None, "type"
        return (None, "finite") if is_non_finite(value) else (float(value), None)

    def are_plain(self, values: Sequence[Any]) -> bool:
        return super().are_plain(values) and not any(map(is_non_finite, values))

    def from_text(self, value: pl.Expr, name: str) -> list[pl.Expr]:
        """A number has a point, maybe a sign and an exponent, and no spaces."""
        number = value.cast(pl.Float64, strict=False)
        unread = pl.when(number.is_null() & value.is_not_null()).then(pl.lit(f"{name}.type"))
        endless = unread.when(~number.is_finite()).then(pl.lit(f"{name}.finite"))
        return [pl.when(number.is_finite()).then(number).alias(name), endless.alias(companions.fault(name))]

    def from_typed(self, column: "Column", value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr] | None:
        return self.from_text(value, column.name) if dtype.is_numeric() else None

    def from_key(self, value: Any) -> Any:
        return float(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond a double
        return False
