"""Every step by the word that a pipeline says it by: one file in this folder, its word and its type here.

A step computes columns of a record from others of it (`step.py`), or looks them up (`lookup.py`).
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Final, TypeAlias

import polars as pl
from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from lineage import naming
from lineage.columns import named
from lineage.errors import ContractError
from tasks.batch import ReferenceState
from tasks.contract import POLARS_TYPES, Contract
from tasks.transform.cells import no_minus_zero
from tasks.transform.steps.expression import ONE
from tasks.transform.steps.lookup import Added, Lookup, Tables
from tasks.transform.steps.set import Set
from tasks.transform.steps.step import Step
from tasks.transform.steps.weather import Weather

STEPS: Final = ("set", "weather", "lookup")
Used: TypeAlias = Step | Lookup


def _is_one(said: object) -> object:
    """Of a list of steps each is one word with what it does."""
    if isinstance(said, Mapping):
        words = list(said)
        if len(words) != 1:
            wrong = (
                f"a step is one word with what it does, and this has {', '.join(map(str, words)) or 'none'}"
            )
            raise PydanticCustomError("contract", "{said}", {"said": f"{wrong}: begin each with a dash"})
        if words[0] not in STEPS:
            near = get_close_matches(str(words[0]), STEPS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(STEPS)}"
            raise PydanticCustomError("contract", "{said}", {"said": f"there is no step {words[0]}: {hint}"})
    return said


def _word(said: object) -> str | None:
    if isinstance(said, Mapping):
        return str(next(iter(said), None))
    return next((word for word in STEPS if hasattr(said, word)), None)


AnyStep = Annotated[
    Annotated[Set, Tag("set")] | Annotated[Weather, Tag("weather")] | Annotated[Lookup, Tag("lookup")],
    Discriminator(_word),
    BeforeValidator(_is_one),
]


def looked_up(steps: Sequence[Used]) -> tuple[str, ...]:
    """The reference tables that steps look values up in, each once."""
    return tuple(dict.fromkeys(step.table for step in steps if isinstance(step, Lookup)))


def check(contract: Contract, steps: Sequence[Used], tables: Mapping[str, Contract]) -> None:
    """Raise ContractError with what is wrong with a step for the table of the contract; `tables`: all."""
    columns = {column.name: column for column in contract.columns}
    there = [column.name for column in contract.inputs]
    for step in steps:
        for number, name in enumerate(step.sets):
            if name not in columns:
                raise ContractError(f"a step sets {name}, and {contract.table} has no such column")
            if name in there or name in step.sets[:number]:
                raise ContractError(f"{name} is set twice: give one of the two another name")
        if isinstance(step, Lookup):
            step.check(columns, there, tables)
        else:
            step.check(columns, there)
        there += step.sets


class Steps:
    """The steps of a pipeline for one table, in their order; `looks_up`: the tables that they look up in."""

    def __init__(
        self, contract: Contract, steps: Sequence[Used] = (), looks_up: Mapping[str, Contract] = {}
    ) -> None:
        self.sets = tuple(name for step in steps for name in step.sets)
        self._looks_up = looks_up
        self._made: list[Added] = []
        there = [column.name for column in contract.inputs]
        types = {column.name: POLARS_TYPES[column.type] for column in contract.columns}
        for step in steps:
            if isinstance(step, Lookup):
                self._made.append(step.added_from(looks_up[step.table]))
            else:
                found = step.expressions(there).items()
                values = [
                    no_minus_zero(each.cast(types[name]), types[name]).alias(name) for name, each in found
                ]
                self._made.append(partial(_computed, values))
            there += step.sets

    def plan(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """With the columns that the steps set, in the types of the table; the others and the rows stay."""
        empty = {
            table: named(contract.row_schema.to_frame().lazy(), naming.postgres(table))
            for table, contract in self._looks_up.items()
        }
        return self._apply(frame.with_columns(pl.lit(1.0).alias(ONE)), empty)

    def run(self, rows: pl.DataFrame, states: Mapping[str, ReferenceState] = {}) -> pl.DataFrame:
        """The rows with what the steps set, looked up in these states of the reference tables.

        ONE is a column of as many rows, and no constant. A column of one row counts as a constant to Polars
        where it is an exponent, so one row is computed twice.
        """
        if rows.height == 1:
            return self.run(pl.concat([rows, rows]), states).head(1)
        ones = pl.repeat(1.0, rows.height, dtype=pl.Float64, eager=True).alias(ONE)
        tables = {table: states[table].rows.lazy() for table in self._looks_up}
        return self._apply(rows.with_columns(ones).lazy(), tables).collect(engine="in-memory")

    def _apply(self, frame: pl.LazyFrame, tables: Tables) -> pl.LazyFrame:
        for made in self._made:
            frame = made(frame, tables)
        return frame.drop(ONE)


def _computed(values: Sequence[pl.Expr], records: pl.LazyFrame, _tables: Tables) -> pl.LazyFrame:
    return records.with_columns(values)
