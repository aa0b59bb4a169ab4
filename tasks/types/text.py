"""`text`: Unicode without NUL, which no store keeps."""

from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.types.json_number import QUOTED
from tasks.types.type import NONE, Cell, Digits, Type

if TYPE_CHECKING:
    from tasks.contract import Column


def read_text(value: Any) -> Cell:
    return (value, None) if type(value) is str else (None, "type")


class Text(Type):
    name = "text"
    said = "text"
    rules = ("min_length", "max_length", "one_of", "regex")
    cell = pl.String()
    captured = {"text": QUOTED}  # noqa: RUF012 - nobody changes it
    plain = (str, NONE)

    def polars(self, _digits: Digits) -> pl.DataType:
        return pl.String()

    def postgres(self, _digits: Digits) -> str:
        return "text"

    def takes(self, value: object, _digits: Digits) -> bool:
        return isinstance(value, str) and "\x00" not in value

    def wanted(self, _digits: Digits) -> str:
        return "text without NUL"

    def from_json(self, value: Any) -> Cell:
        return read_text(value)

    def from_text(self, value: pl.Expr, name: str) -> list[pl.Expr]:
        return [value.alias(name)]

    def from_typed(self, column: "Column", value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr] | None:
        return self.from_text(value, column.name) if dtype == pl.String else None

    def as_json(self, value: pl.Expr) -> pl.Expr:
        quoted = pl.struct(value.alias("v")).struct.json_encode()  # {"v":…}
        return pl.when(value.is_not_null()).then(quoted.str.slice(5).str.head(-1))
