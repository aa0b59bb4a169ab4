"""`where`: records of which an expression is not true are left out on purpose."""

from collections.abc import Mapping, Sequence

import polars as pl

from lineage.errors import ContractError
from tasks.contract import Column, Frozen
from tasks.transform.steps.expression import expression, said_of, type_of


class Where(Frozen):
    """An expression, e.g. `co2 IS NOT NULL`; what is null is not true."""

    where: str

    @property
    def sets(self) -> Sequence[str]:
        return ()

    def check(self, columns: Mapping[str, Column], there: Sequence[str]) -> None:
        found = type_of("where", self.where, [columns[name] for name in there])
        if found != pl.Boolean():
            raise ContractError(f"where: {self.where!r} gives {said_of(found)}: write what is true or not")

    def expressions(self, _there: Sequence[str]) -> Mapping[str, pl.Expr]:
        return {}

    def keeps(self, there: Sequence[str]) -> pl.Expr:
        return expression(self.where, there)
