"""`set`: columns by expressions over columns of the record as they were before it."""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from pydantic import Field

from lineage.errors import ContractError
from tasks.contract import POLARS_TYPES, Column, ColumnType, Frozen, Name
from tasks.transform.steps.expression import ONE, expression


class Set(Frozen):
    """Column → expression, e.g. `stuffy: co2 > 1000`."""

    set: Mapping[Name, str] = Field(min_length=1)

    @property
    def sets(self) -> Sequence[str]:
        return tuple(self.set)

    def check(self, columns: Mapping[str, Column], there: Sequence[str]) -> None:
        types = {name: POLARS_TYPES[columns[name].type] for name in there}
        empty = pl.LazyFrame(schema={**types, ONE: pl.Float64()})
        for name, said in self.set.items():
            try:
                found = empty.select(expression(said, there)).collect().dtypes
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OverflowError) as error:
                why = " ".join(str(error).split())
                raise ContractError(f"{name}: {said!r} cannot be computed: {why}") from error
            kind = columns[name].type
            if not _fits(found[0], kind):
                raise ContractError(f"{name}: {said!r} gives {_said(found[0])}, and the column is {kind}")

    def expressions(self, there: Sequence[str]) -> Mapping[str, pl.Expr]:
        return {name: expression(said, there) for name, said in self.set.items()}


_KINDS: Final = {
    pl.String: (ColumnType.TEXT,),
    pl.Boolean: (ColumnType.BOOLEAN,),
    pl.Null: (
        ColumnType.TEXT,
        ColumnType.BOOLEAN,
        ColumnType.FLOAT,
        ColumnType.INTEGER,
        ColumnType.TIMESTAMP,
    ),
}


def _fits(dtype: pl.DataType, kind: ColumnType) -> bool:
    """Whether a value of that type is the column's as it is, a whole number for any number."""
    if kind is ColumnType.FLOAT and dtype.is_numeric():
        return True
    if kind is ColumnType.INTEGER and dtype == pl.Int64:
        return True
    if kind is ColumnType.TIMESTAMP and isinstance(dtype, pl.Datetime):
        return dtype.time_zone is not None
    return kind in _KINDS.get(type(dtype), ())


def _said(dtype: pl.DataType) -> str:
    for known, what in {pl.String: "text", pl.Boolean: "a truth value", pl.Datetime: "a time"}.items():
        if isinstance(dtype, known):
            return what
    return "a number" if dtype.is_numeric() else str(dtype)
