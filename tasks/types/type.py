"""The port of a column's type: what a value of it is in a contract, in JSON, text, a frame, Postgres.

    JSON, text, Parquet ─▶ cell ─parse─▶ value ─▶ Postgres

A cell is what decoding gives: the value, or still text where only `parse` reads it (a time has a zone to be
read in, a decimal its digits). What keeps a value from being read is a fault beside it (`companions.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import polars as pl

from tasks.types import companions

if TYPE_CHECKING:
    from tasks.contract import Column

Cell = tuple[Any, str | None]
"""A value, or null and the kind of its fault."""
Digits = tuple[int, int]
"""Of a decimal: how many it has, and how many of them are after the point."""

NONE: Final = type(None)


class Type(ABC):
    """One type; a type has no state, so there is one of each (`kinds.py`)."""

    name: ClassVar[str]
    said: ClassVar[str]
    """What a value is, as a person says it."""
    is_number: ClassVar[bool] = False
    rules: ClassVar[Collection[str]] = ()
    """Which rules of a contract are of it: `minimum`, `min_length`, `one_of`, `regex` …"""
    unread: ClassVar[Mapping[str, str]] = {}
    """Beside a wrong type, what can keep a value from being read: kind of fault → sentence."""
    cell: ClassVar[pl.DataType]
    """What decoding gives."""
    has_epoch: ClassVar[bool] = False
    """Whether JSON may give it as a number since 1970, which then stands in a companion."""
    has_digits: ClassVar[bool] = False
    """Whether a number of JSON is read as it is written, digit for digit."""
    captured: ClassVar[Mapping[str, str]] = {}
    """How messages of a shape are read (`decode/shape.py`): kind of JSON's token → the group of it."""
    endless: ClassVar[str] = "type"
    """The fault of NaN and the infinities."""
    plain: ClassVar[Collection[type]] = (NONE,)
    """The Python types of JSON's values that need no look, each alone."""

    @abstractmethod
    def polars(self, digits: Digits) -> pl.DataType:
        """What a value is in a frame."""

    @abstractmethod
    def postgres(self, digits: Digits) -> str:
        """What a value is in Postgres."""

    @abstractmethod
    def takes(self, value: object, digits: Digits) -> bool:
        """Whether a value of a contract (a limit, a default) is one of this type."""

    @abstractmethod
    def wanted(self, digits: Digits) -> str:
        """What such a value is."""

    @abstractmethod
    def from_json(self, value: Any) -> Cell:
        """The cell of a JSON value that is not null."""

    @abstractmethod
    def from_text(self, value: pl.Expr, name: str) -> list[pl.Expr]:
        """The cells, and what stands beside them, of texts as a file or a topic has them (String)."""

    @abstractmethod
    def from_typed(self, column: "Column", value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr] | None:
        """The same of a column that has a type; None: values of that type are none of this one."""

    def fits_shape(self, _token: str, _text: str) -> bool:
        """Whether a shape may be learned from this token; else only the strict reader may judge it."""
        return True

    def are_plain(self, values: Sequence[Any]) -> bool:
        """Whether no single one of JSON's values needs a look."""
        return set(map(type, values)) <= set(self.plain)

    def parse(self, frame: pl.DataFrame, _column: "Column") -> pl.DataFrame:
        """The frame with values in place of cells; its rows may come back in another order."""
        return frame

    def from_key(self, value: Any) -> Any:
        """What Postgres takes for a part of a key that a person wrote; raises ValueError."""
        return str(value)

    def as_json(self, value: pl.Expr) -> pl.Expr:
        """JSON's text of values, null where no store takes them."""
        return value.cast(pl.String)


def no_cell(value: pl.Expr, name: str, kind: str) -> list[pl.Expr]:
    """No cell, and a fault wherever there is a value."""
    return [pl.lit(None).alias(name), fault(name, kind, value.is_not_null())]


def fault(name: str, kind: str, broken: pl.Expr) -> pl.Expr:
    return pl.when(broken).then(pl.lit(f"{name}.{kind}")).alias(companions.fault(name))
