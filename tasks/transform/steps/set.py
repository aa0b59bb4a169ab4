"""`set`: columns by expressions over columns of the record as they were before it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import polars as pl
from pydantic import Field

from lineage.errors import ContractError
from tasks.contract import Column, ColumnType, Contract, Frozen, Name
from tasks.transform.steps.expression import expression, said_of, type_of
from tasks.transform.steps.step import Values


class Set(Frozen):
    """Column → expression, e.g. `stuffy: co2 > 1000`."""

    set: Mapping[Name, str] = Field(min_length=1)

    @property
    def sets(self) -> Sequence[str]:
        return tuple(self.set)

    @property
    def table(self) -> None:
        return None

    def check(
        self, columns: Mapping[str, Column], there: Sequence[str], _tables: Mapping[str, Contract]
    ) -> None:
        for name, said in self.set.items():
            found = type_of(name, said, [columns[each] for each in there])
            kind = columns[name].type
            if kind is ColumnType.DECIMAL and found != pl.Null:
                why = _why_no_decimal(found, columns[name])
            else:
                why = "" if _fits(found, kind) else f"{said_of(found)}, and the column is {kind}"
            if why:
                raise ContractError(f"{name}: {said!r} gives {why}")

    def reads(self, there: Sequence[str]) -> Mapping[str, Collection[str]]:
        return {name: value.meta.root_names() for name, value in self.does(there, {}).of.items()}

    def does(self, there: Sequence[str], _tables: Mapping[str, Contract]) -> Values:
        return Values({name: expression(said, there) for name, said in self.set.items()})


_KINDS: Final = {
    pl.String: (ColumnType.TEXT,),
    pl.Boolean: (ColumnType.BOOLEAN,),
    pl.Null: (
        ColumnType.TEXT,
        ColumnType.BOOLEAN,
        ColumnType.FLOAT,
        ColumnType.INTEGER,
        ColumnType.DECIMAL,
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


def _why_no_decimal(dtype: pl.DataType, column: Column) -> str:
    """Why a result is not for a column of decimals, which never rounds; empty: it is.

    What has too many digits before the point is met when it is computed: `transform.failed`.
    """
    _, scale = column.digits
    if dtype == pl.Int64:
        return ""
    if not isinstance(dtype, pl.Decimal):
        floats = ": what divides or rounds is computed with floats" if dtype.is_float() else ""
        return f"{said_of(dtype)}, and the column is decimal{floats}"
    if dtype.scale > scale:
        return f"{dtype.scale} digits after the point, and the column has {scale}: give it a larger `scale`"
    return ""
