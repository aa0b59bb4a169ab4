"""The port of a step: it computes columns of a record from others of that record, or leaves the record out.

A step reads columns as they were before it and writes over none. What it does depends on its record and the
state of what it looks values up in alone, to the last bit: not on how many rows stand beside it
(`expression.ONE`). It does one of three things: `Values`, `Keeps` or `Found`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Protocol, TypeAlias, TypeVar

import polars as pl
from pydantic import Discriminator, Field, Tag

from lineage.errors import ContractError
from tasks.batch import Reference
from tasks.contract import Column, Contract, Name


@dataclass(frozen=True, slots=True)
class Values:
    """Columns by expressions over those that are there before the step."""

    of: Mapping[str, pl.Expr]


@dataclass(frozen=True, slots=True)
class Keeps:
    """Records of which `when` is true go on, the others are filtered."""

    when: pl.Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Columns from rows that records name, of a table or of what a library knows; none found is null."""

    dataset: str  # what lineage calls it, a URI
    schema: pl.Schema  # of the rows
    rows: Callable[[pl.DataFrame, Reference], pl.DataFrame]  # those that these records may name
    state: Callable[[Reference], str | None]  # which state of the dataset they are of, for the ledger
    add: Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]  # to records, from the rows; in their order
    of_records: bool = False  # whether `rows` asks the records at all


Does: TypeAlias = Values | Keeps | Found


class Step(Protocol):
    """`sets`: the columns that it computes; `table`: the reference table that it looks them up in."""

    @property
    def sets(self) -> Sequence[str]: ...

    @property
    def table(self) -> str | None: ...

    def check(
        self, columns: Mapping[str, Column], there: Sequence[str], tables: Mapping[str, Contract]
    ) -> None:
        """Raise ContractError for what cannot be computed so.

        `columns`: of the table; `there`: those that are there before it; `tables`: every reference table.
        """
        ...

    def reads(self, there: Sequence[str]) -> Mapping[str, Collection[str]]:
        """Each column that it sets, and the record's columns that it is made of."""
        ...

    def does(self, there: Sequence[str], tables: Mapping[str, Contract]) -> Does:
        """Made once, and used for every batch."""
        ...


def _form(said: object) -> str:
    """Which one an `add` is: names in a list, or a mapping."""
    return "mapping" if isinstance(said, Mapping) else "list"


What = TypeVar("What")
Added: TypeAlias = Annotated[
    Annotated[tuple[What, ...], Field(min_length=1), Tag("list")]
    | Annotated[Mapping[Name, What], Field(min_length=1), Tag("mapping")],
    Discriminator(_form),
]
"""What an `add` says: columns that are called as what they are, or ours → what they are."""


def ours_to_theirs(said: Sequence[str] | Mapping[str, str]) -> Mapping[str, str]:
    """What `add` says: names that are the same on both sides, or ours → theirs."""
    return said if isinstance(said, Mapping) else {name: name for name in said}


def is_there(step: str, name: str, there: Sequence[str]) -> None:
    """Raise ContractError where a step reads a column that is not there before it."""
    if name not in there:
        why = f"{step} reads {name}, and there is no such column before it"
        raise ContractError(f"{why}: {nearest(name, there)}")


def nearest(name: str, known: Collection[str]) -> str:
    """The nearest name that is known, or all of them."""
    near = get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"choose from {', '.join(sorted(known))}" if known else "there is none"


def is_as(step: str, column: Column, kinds: Sequence[str], unit: str | None = None) -> None:
    """Raise ContractError where a column is of none of these types, or says another unit."""
    if column.type in kinds and (unit is None or column.unit in (None, unit)):
        return
    wanted = f"{kinds[0]} in {unit}" if unit else kinds[0]
    said = f"{column.type} in {column.unit}" if unit and column.unit else column.type
    raise ContractError(f"{step} takes {column.name} as {wanted}, and it is {said}")
