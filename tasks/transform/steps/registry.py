"""Every step by the word that a pipeline says it by: one file in this folder, its word and its type here."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Final

import polars as pl
from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from lineage.errors import ContractError
from tasks.contract import POLARS_TYPES, Contract
from tasks.transform.cells import no_minus_zero
from tasks.transform.steps.expression import ONE
from tasks.transform.steps.set import Set
from tasks.transform.steps.step import Step
from tasks.transform.steps.weather import Weather

STEPS: Final = ("set", "weather")


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
    Annotated[Set, Tag("set")] | Annotated[Weather, Tag("weather")],
    Discriminator(_word),
    BeforeValidator(_is_one),
]


def check(contract: Contract, steps: Sequence[Step]) -> None:
    """Raise ContractError with what is wrong with a step for the table of the contract."""
    columns = {column.name: column for column in contract.columns}
    there = [column.name for column in contract.inputs]
    for step in steps:
        for number, name in enumerate(step.sets):
            if name not in columns:
                raise ContractError(f"a step sets {name}, and {contract.table} has no such column")
            if name in there or name in step.sets[:number]:
                raise ContractError(f"{name} is set twice: give one of the two another name")
        step.check(columns, there)
        there += step.sets


class Steps:
    """The steps of a pipeline for one table, in their order."""

    def __init__(self, contract: Contract, steps: Sequence[Step] = ()) -> None:
        self.sets = tuple(name for step in steps for name in step.sets)
        self._made: list[list[pl.Expr]] = []
        there = [column.name for column in contract.inputs]
        types = {column.name: POLARS_TYPES[column.type] for column in contract.columns}
        for step in steps:
            found = step.expressions(there).items()
            made = [no_minus_zero(value.cast(types[name]), types[name]).alias(name) for name, value in found]
            self._made.append(made)
            there += step.sets

    def plan(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """With the columns that the steps set, in the types of the table; the others and the rows stay."""
        return self._apply(frame.with_columns(pl.lit(1.0).alias(ONE)))

    def run(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with what the steps set.

        ONE is a column of as many rows, and no constant. A column of one row counts as a constant to Polars
        where it is an exponent, so one row is computed twice.
        """
        if rows.height == 1:
            return self.run(pl.concat([rows, rows])).head(1)
        ones = pl.repeat(1.0, rows.height, dtype=pl.Float64, eager=True).alias(ONE)
        return self._apply(rows.with_columns(ones).lazy()).collect(engine="in-memory")

    def _apply(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        for made in self._made:
            frame = frame.with_columns(made)
        return frame.drop(ONE)
