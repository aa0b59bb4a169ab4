"""`json`: any value of JSON, kept as its text with sorted names; a NUL in it is a fault: none is kept."""

import json
import re
from typing import TYPE_CHECKING, Any, Final

import orjson
import polars as pl
from pydantic_core import from_json

from tasks.types.json_number import is_non_finite
from tasks.types.type import Cell, Digits, Type, fault

if TYPE_CHECKING:
    from tasks.contract import Column

_LARGE: Final = re.compile(r"[0-9]{19}")  # digits that may be an integer beyond 64 bits


class Json(Type):
    name = "json"
    said = "JSON"
    unread = {  # noqa: RUF012 - nobody changes it
        "finite": "is not a finite number",
        "json": "cannot be stored as JSON",
        "nul": "holds a NUL character",
    }
    cell = pl.String()

    def polars(self, _digits: Digits) -> pl.DataType:
        return pl.String()

    def postgres(self, _digits: Digits) -> str:
        return "json"  # not jsonb: the text as received, so that its row digest can be computed again

    def takes(self, value: object, _digits: Digits) -> bool:
        return isinstance(value, str) and "\x00" not in value and _is_json(value)

    def wanted(self, _digits: Digits) -> str:
        return "a text that is JSON"

    def from_json(self, value: Any) -> Cell:
        if is_non_finite(value):
            return None, "finite"
        try:
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        except TypeError:  # nested deeper than 254, or an integer beyond 64 bits
            return None, "json"
        return (None, "nul") if "\\u0000" in text else (text, None)

    def fits_shape(self, _token: str, _text: str) -> bool:
        return False

    def from_text(self, value: pl.Expr, name: str) -> list[pl.Expr]:
        canonical = value.map_elements(_canonical, return_dtype=pl.String)
        return [canonical.alias(name), fault(name, "json", value.is_not_null() & canonical.is_null())]

    def from_typed(self, column: "Column", value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr] | None:
        return self.from_text(value, column.name) if dtype == pl.String else None


def _canonical(text: str) -> str | None:
    """The text that the strict reader would keep; None where it is no JSON or holds a NUL."""
    try:
        value = orjson.loads(text)
        if _LARGE.search(text):
            value = from_json(text)  # orjson takes an integer beyond 64 bits for a double
        written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (ValueError, TypeError):  # no JSON, or nested too deep to be read exactly; not to be written
        return None
    return None if "\\u0000" in written else written


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
