"""`where`: records of which an expression is not true are left out on purpose."""

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from lineage.errors import ContractError
from tasks.contract import Column, Contract, Frozen
from tasks.transform.steps.expression import expression, said_of, type_of
from tasks.transform.steps.step import Keeps


class Where(Frozen):
    """An expression, e.g. `co2 IS NOT NULL`; what is null is not true."""

    where: str

    @property
    def sets(self) -> Sequence[str]:
        return ()

    @property
    def table(self) -> None:
        return None

    def check(
        self, columns: Mapping[str, Column], there: Sequence[str], _tables: Mapping[str, Contract]
    ) -> None:
        found = type_of("where", self.where, [columns[name] for name in there])
        if found != pl.Boolean():
            raise ContractError(f"where: {self.where!r} gives {said_of(found)}: write what is true or not")

    def reads(self, _there: Sequence[str]) -> Mapping[str, Collection[str]]:
        return {}

    def does(self, there: Sequence[str], _tables: Mapping[str, Contract]) -> Keeps:
        return Keeps(expression(self.where, there))
