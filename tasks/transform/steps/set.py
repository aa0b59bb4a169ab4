"""`set`: columns by expressions over columns of the record as they were before it."""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from pydantic import Field

from lineage.errors import ContractError
from tasks.contract import Column, ColumnType, Frozen, Name
from tasks.transform.steps.expression import expression, said_of, type_of


class Set(Frozen):
    """Column → expression, e.g. `stuffy: co2 > 1000`."""

    set: Mapping[Name, str] = Field(min_length=1)

    @property
    def sets(self) -> Sequence[str]:
        return tuple(self.set)

    def check(self, columns: Mapping[str, Column], there: Sequence[str]) -> None:
        for name, said in self.set.items():
            found = type_of(name, said, [columns[each] for each in there])
            kind = columns[name].type
            if not _fits(found, kind):
                raise ContractError(f"{name}: {said!r} gives {said_of(found)}, and the column is {kind}")

    def expressions(self, there: Sequence[str]) -> Mapping[str, pl.Expr]:
        return {name: expression(said, there) for name, said in self.set.items()}

    def keeps(self, _there: Sequence[str]) -> None:
        return None


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
