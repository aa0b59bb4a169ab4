"""Every step by the word that a pipeline says it by: one file in this folder, its word and its type here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Final, TypeAlias

import polars as pl
from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from lineage.columns import named
from lineage.errors import ContractError
from tasks.batch import Reference
from tasks.contract import Column, ColumnType, Contract
from tasks.decode.cells import SEQUENCE, no_minus_zero
from tasks.transform.steps.expression import ONE
from tasks.transform.steps.lookup import DEVICES, Lookup
from tasks.transform.steps.place import Place
from tasks.transform.steps.set import Set
from tasks.transform.steps.step import Does, Found, Keeps, Step, Values, nearest
from tasks.transform.steps.weather import Weather
from tasks.transform.steps.where import Where

STEPS: Final = ("set", "weather", "place", "lookup", "where")
Added: TypeAlias = Callable[[pl.LazyFrame], pl.LazyFrame]


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
    | Annotated[Place, Tag("place")]
    | Annotated[Lookup, Tag("lookup")]
    | Annotated[Where, Tag("where")],
    Discriminator(_word),
    BeforeValidator(_is_one),
]


def looked_up(steps: Sequence[Step]) -> tuple[str, ...]:
    """The reference tables of pipelines that steps look values up in, each once."""
    return tuple(dict.fromkeys(step.table for step in steps if step.table not in (None, DEVICES.table)))


class StepError(ContractError):
    """What is wrong with one step; `number`: which of the list."""

    def __init__(self, said: str, number: int) -> None:
        super().__init__(said)
        self.number = number


def check(contract: Contract, steps: Sequence[Step], tables: Mapping[str, Contract]) -> None:
    """Raise StepError with what is wrong with a step for the table of the contract; `tables`: all.

    ContractError where the steps together make a key that may change.
    """
    for number, (step, there) in enumerate(_each(contract, steps)):
        try:
            _check(step, contract, there, _with_register(tables))
        except ContractError as error:
            raise StepError(str(error), number) from error
    _check_key(contract, steps, tables)


def _check(step: Step, contract: Contract, there: Sequence[str], tables: Mapping[str, Contract]) -> None:
    columns = {column.name: column for column in contract.columns}
    for at, name in enumerate(step.sets):
        if name not in columns:
            near = nearest(name, columns)
            raise ContractError(f"a step sets {name}, and {contract.table} has no such column: {near}")
        if name in there or name in step.sets[:at]:
            raise ContractError(f"{name} is set twice: give one of the two another name")
    step.check(columns, there, tables)


def _each(contract: Contract, steps: Sequence[Step]) -> Iterator[tuple[Step, Sequence[str]]]:
    """Each step, and the columns that are there before it."""
    there = [column.name for column in contract.inputs]
    for step in steps:
        yield step, tuple(there)
        there += step.sets


def _with_register(tables: Mapping[str, Contract]) -> Mapping[str, Contract]:
    return {**tables, DEVICES.table: DEVICES}


def _check_key(contract: Contract, steps: Sequence[Step], tables: Mapping[str, Contract]) -> None:
    """Raise ContractError where a key may be another one when its record is delivered again."""
    came = {column.name: frozenset({_ARRIVAL}) for column in contract.inputs if column.is_arrival}
    varying = _varying(contract, steps, tables, came)
    for name in contract.key:
        if name in varying:
            cause = min(varying[name])
            said = cause if cause == _ARRIVAL else f"{cause}, which may change"
            raise ContractError(
                f"{name} is set from {said}, so it cannot be in the key: delivered again, the record would "
                "be another row"
            )


def _varying(
    contract: Contract,
    steps: Sequence[Step],
    tables: Mapping[str, Contract],
    known: Mapping[str, frozenset[str]] = {},
) -> Mapping[str, frozenset[str]]:
    """Each column whose value hangs on more than what its record says, and on which datasets it does."""
    varying = dict(known)
    for step, there in _each(contract, steps):
        does = step.does(there, _with_register(tables))
        own = frozenset({does.dataset}) if isinstance(does, Found) else frozenset[str]()
        for name, read in step.reads(there).items():
            causes = own.union(*(varying.get(each, ()) for each in read))
            varying |= {name: causes} if causes else {}
    return varying


def deciding(
    contract: Contract, steps: Sequence[Step], tables: Mapping[str, Contract]
) -> Mapping[str, frozenset[str]]:
    """Each column of which another state of a dataset may give a value that breaks a rule, or breaks none."""
    varying = _varying(contract, steps, tables)
    return {name: causes for name, causes in varying.items() if _has_rule(contract.column(name))}


def _has_rule(column: Column) -> bool:
    """Whether a value may break a rule of its column; none that is found has a NUL."""
    said = ("minimum", "maximum", "min_length", "max_length", "one_of", "regex")
    limited = any(getattr(column, rule) is not None for rule in said)
    return column.required or limited or column.type is ColumnType.FLOAT


_ARRIVAL: Final = "when the record came"
KEPT: Final = ".kept"
"""A column of whether a record goes on; no contract's column has a dot in its name."""


class Steps:
    """The steps of a pipeline for one table, in their order; `tables`: those that they look up in."""

    def __init__(
        self, contract: Contract, steps: Sequence[Step] = (), tables: Mapping[str, Contract] = {}
    ) -> None:
        self.sets = tuple(name for step in steps for name in step.sets)
        self._types = types = {column.name: column.polars_type for column in contract.columns}
        done = [step.does(there, _with_register(tables)) for step, there in _each(contract, steps)]
        self._done = [_typed(each, types) if isinstance(each, Values) else each for each in done]
        self._reads = _read(contract, steps, done)
        self._of_key = _of_key(contract, steps, self._done)

    def __bool__(self) -> bool:
        return bool(self._done)

    def plan(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """With the columns that the steps set, in the types of the table; without what they leave out."""
        frame = frame.with_columns(pl.lit(1.0).alias(ONE))
        for does in self._done:
            match does:
                case Keeps(when):
                    frame = frame.filter(when)
                case Found():
                    frame = does.add(frame, named(does.schema.to_frame().lazy(), does.dataset))
                case Values(of):
                    frame = frame.with_columns(**of)
        return frame.drop(ONE)

    def run(self, rows: pl.DataFrame, reference: Reference) -> pl.DataFrame:
        """The rows that the steps keep, in their order: `sequence`, what steps read, and what they set.

        What is left out is gone before the next step: nothing is computed of it any more.
        """
        rows = rows.select(name for name in rows.columns if name in self._reads)
        waiting: list[Added] = []
        for does in self._done:
            match does:
                case Keeps(when):
                    kept = partial(_with_columns, {KEPT: when.fill_null(False)})
                    rows, waiting = self._computed(rows, [*waiting, kept]), []
                    rows = rows.filter(KEPT).drop(KEPT)
                case Found():
                    if does.of_records:
                        rows, waiting = self._computed(rows, waiting), []
                    waiting.append(partial(_with_found, does, does.rows(rows, reference)))
                case Values(of):
                    waiting.append(partial(_with_columns, of))
        return self._computed(rows, waiting)

    def with_key(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that a step left out, with what of the key is set; nulls where that cannot be computed."""
        if not self._of_key:
            return rows
        try:
            return self._computed(rows, [partial(_with_columns, values) for values in self._of_key])
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            if rows.height > 1:
                half = rows.height // 2
                return pl.concat([self.with_key(rows.head(half)), self.with_key(rows.tail(-half))])
            names = {name: self._types[name] for values in self._of_key for name in values}
            return rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in names.items())

    def states(self, reference: Reference) -> Mapping[str, str]:
        """Dataset (URI) → its state, of all that values are looked up in."""
        found = {does.dataset: does.state(reference) for does in self._done if isinstance(does, Found)}
        return {dataset: state for dataset, state in found.items() if state is not None}

    def _computed(self, rows: pl.DataFrame, steps: Sequence[Added]) -> pl.DataFrame:
        """The rows with what these steps add, each of which may read what those before it did.

        ONE is a column of as many rows, and no constant. A column of one row counts as a constant to Polars
        where it is an exponent, so one row is computed twice.
        """
        if not steps:
            return rows
        if rows.height == 1:
            return self._computed(pl.concat([rows, rows]), steps).head(1)
        frame = rows.lazy()
        if ONE in self._reads:
            frame = rows.with_columns(pl.repeat(1.0, rows.height, eager=True).alias(ONE)).lazy()
        for add in steps:
            frame = add(frame)
        return frame.drop(ONE, strict=False).collect(engine="in-memory")


def _read(contract: Contract, steps: Sequence[Step], done: Sequence[Does]) -> frozenset[str]:
    """The columns that steps read, of the record's and ONE; and the message's number."""
    of_steps = {
        name for step, there in _each(contract, steps) for read in step.reads(there).values() for name in read
    }
    filters = [each.when for each in done if isinstance(each, Keeps)]
    return frozenset({SEQUENCE, *of_steps}.union(*(each.meta.root_names() for each in filters)))


def _of_key(
    contract: Contract, steps: Sequence[Step], done: Sequence[Does]
) -> Sequence[Mapping[str, pl.Expr]]:
    """The values that steps set of the key, and those that these are made of, in order."""
    wanted, found = set(contract.key), list[Mapping[str, pl.Expr]]()
    for (step, there), does in reversed(list(zip(_each(contract, steps), done, strict=True))):
        if isinstance(does, Values) and (mine := wanted.intersection(step.sets)):
            found.insert(0, {name: does.of[name] for name in step.sets if name in mine})
            wanted.update(*(step.reads(there)[name] for name in mine))
    return found


def _typed(values: Values, types: Mapping[str, pl.DataType]) -> Values:
    """In the types of the table."""
    cast = {name: value.cast(types[name]) for name, value in values.of.items()}
    return Values({name: no_minus_zero(value, types[name]) for name, value in cast.items()})


def _with_columns(values: Mapping[str, pl.Expr], records: pl.LazyFrame) -> pl.LazyFrame:
    return records.with_columns(**values)


def _with_found(does: Found, rows: pl.DataFrame, records: pl.LazyFrame) -> pl.LazyFrame:
    return does.add(records, rows.lazy())
