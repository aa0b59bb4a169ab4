"""The port of a step: it computes columns of a record from others of that record, or leaves the record out.

A step reads columns as they were before it and writes over none. What it does depends on its record alone, to
the last bit: not on how many rows stand beside it (`expression.ONE`).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import polars as pl

from tasks.contract import Column


class Step(Protocol):
    """`sets`: the columns that it computes."""

    @property
    def sets(self) -> Sequence[str]: ...

    def check(self, columns: Mapping[str, Column], there: Sequence[str]) -> None:
        """Raise ContractError for what cannot be computed so: `columns` of the table, `there` so far."""
        ...

    def expressions(self, there: Sequence[str]) -> Mapping[str, pl.Expr]:
        """What each column that it sets is, over the columns that are there before it; made once."""
        ...

    def keeps(self, there: Sequence[str]) -> pl.Expr | None:
        """Of which records it is true: they go on, and the others are filtered. None: every one goes on."""
        ...
