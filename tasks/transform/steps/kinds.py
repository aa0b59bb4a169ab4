"""Every step by the word that a pipeline says it by: one file in this folder, its word and its type here.

A step computes columns of a record from others of it (`step.py`), or looks them up (`lookup.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from tasks.contract import Contract
from tasks.decode.cells import no_minus_zero
from tasks.transform.steps.expression import ONE
from tasks.transform.steps.lookup import Added, Lookup, Tables
from tasks.transform.steps.set import Set
from tasks.transform.steps.step import Step
from tasks.transform.steps.weather import Weather
from tasks.transform.steps.where import Where

STEPS: Final = ("set", "weather", "lookup", "where")
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
    Annotated[Set, Tag("set")]
    | Annotated[Weather, Tag("weather")]
    | Annotated[Lookup, Tag("lookup")]
    | Annotated[Where, Tag("where")],
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
    _check_key(contract, steps)


def _check_key(contract: Contract, steps: Sequence[Used]) -> None:
    """Raise ContractError where a key may be another one when its record is delivered again."""
    varying = {column.name: "when the record came" for column in contract.inputs if column.is_arrival}
    there = [column.name for column in contract.inputs]
    for step in steps:
        if isinstance(step, Lookup):
            varying |= dict.fromkeys(step.sets, f"the table {step.table}, which may change")
        elif varying:
            for name, value in step.expressions(there).items():
                if by := next((each for each in value.meta.root_names() if each in varying), None):
                    varying[name] = varying[by]
        there += step.sets
    for name in contract.key:
        if name in varying:
            raise ContractError(
                f"{name} is set from {varying[name]}, so it cannot be in the key: delivered again, the "
                "record would be another row"
            )


KEPT: Final = ".kept"
"""A column of whether a record goes on; no contract's column has a dot in its name."""


@dataclass(frozen=True, slots=True)
class _Done:
    """One step: what adds the columns that it sets, and which records it keeps (None: all)."""

    add: Added
    keeps: pl.Expr | None


class Steps:
    """The steps of a pipeline for one table, in their order; `looks_up`: the tables that they look up in."""

    def __init__(
        self, contract: Contract, steps: Sequence[Used] = (), looks_up: Mapping[str, Contract] = {}
    ) -> None:
        self.sets = tuple(name for step in steps for name in step.sets)
        self._looks_up = looks_up
        self._done: list[_Done] = []
        there = [column.name for column in contract.inputs]
        types = {column.name: column.polars_type for column in contract.columns}
        for step in steps:
            if isinstance(step, Lookup):
                self._done.append(_Done(step.added_from(looks_up[step.table]), None))
            else:
                found = step.expressions(there).items()
                values = [
                    no_minus_zero(each.cast(types[name]), types[name]).alias(name) for name, each in found
                ]
                self._done.append(_Done(partial(_with_values, values), step.keeps(there)))
            there += step.sets

    def __bool__(self) -> bool:
        return bool(self._done)

    def plan(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """With the columns that the steps set, in the types of the table; without what they leave out."""
        empty = {
            table: named(contract.row_schema.to_frame().lazy(), naming.postgres(table))
            for table, contract in self._looks_up.items()
        }
        frame = frame.with_columns(pl.lit(1.0).alias(ONE))
        for step in self._done:
            frame = step.add(frame, empty) if step.keeps is None else frame.filter(step.keeps)
        return frame.drop(ONE)

    def run(self, rows: pl.DataFrame, states: Mapping[str, ReferenceState] = {}) -> pl.DataFrame:
        """The rows that the steps keep, in their order, with what they set; `states`: of reference tables.

        What is left out is gone before the next step: nothing is computed of it any more.
        """
        tables = {table: states[table].rows.lazy() for table in self._looks_up}
        waiting: list[Added] = []
        for step in self._done:
            if step.keeps is None:
                waiting.append(step.add)
            else:
                kept = partial(_with_values, [step.keeps.fill_null(False).alias(KEPT)])
                rows = _computed(rows, [*waiting, kept], tables)
                rows, waiting = rows.filter(KEPT).drop(KEPT), []
        return _computed(rows, waiting, tables) if waiting else rows


def _with_values(values: Sequence[pl.Expr], records: pl.LazyFrame, _tables: Tables) -> pl.LazyFrame:
    return records.with_columns(values)


def _computed(rows: pl.DataFrame, steps: Sequence[Added], tables: Tables) -> pl.DataFrame:
    """The rows with what these steps add, each of which may read what those before it did.

    ONE is a column of as many rows, and no constant. A column of one row counts as a constant to Polars where
    it is an exponent, so one row is computed twice.
    """
    if rows.height == 1:
        return _computed(pl.concat([rows, rows]), steps, tables).head(1)
    ones = pl.repeat(1.0, rows.height, dtype=pl.Float64, eager=True).alias(ONE)
    frame = rows.with_columns(ones).lazy()
    for add in steps:
        frame = add(frame, tables)
    return frame.drop(ONE).collect(engine="in-memory")
