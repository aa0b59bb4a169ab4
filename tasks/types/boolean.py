"""`boolean`: true or false, in text as `true` and `false`."""

from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.types.type import NONE, Cell, Digits, Type, fault

if TYPE_CHECKING:
    from tasks.contract import Column


class Boolean(Type):
    name = "boolean"
    said = "true or false"
    cell = pl.Boolean()
    captured = {"truth": "(true|false)"}  # noqa: RUF012 - nobody changes it
    plain = (bool, NONE)

    def polars(self, _digits: Digits) -> pl.DataType:
        return pl.Boolean()

    def postgres(self, _digits: Digits) -> str:
        return "boolean"

    def takes(self, value: object, _digits: Digits) -> bool:
        return isinstance(value, bool)

    def wanted(self, _digits: Digits) -> str:
        return "true or false"

    def from_json(self, value: Any) -> Cell:
        return (value, None) if type(value) is bool else (None, "type")

    def from_text(self, value: pl.Expr, name: str) -> list[pl.Expr]:
        known = value.is_in(["true", "false"])
        return [pl.when(known).then(value == "true").alias(name), fault(name, "type", ~known)]

    def from_typed(self, column: "Column", value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr] | None:
        return [value.alias(column.name)] if dtype == pl.Boolean else None

    def from_key(self, value: Any) -> Any:
        text = str(value).lower()
        if text not in ("true", "false"):
            raise ValueError(value)
        return text == "true"
