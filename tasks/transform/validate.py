"""A contract's rules as Polars expressions: which rows break which of them.

Every rule is named `SUBJECT.KIND` and is broken or not by one row alone. The subject is a column, a group of
columns or what a transform adds of its own (`topic`, `payload`); the kind tells programs what is wrong.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, Final

import polars as pl

from tasks.contract import Column, ColumnType, Contract, Missing, time_literal
from tasks.contract_rules import whole
from tasks.decode import cells
from tasks.types.decimal import BOTH

RULES: Final = ".rules"
"""The column of a row's broken rules; no contract's column has a dot in its name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken`: a Boolean expression over the row, null counts as kept; `sentence`: what to tell a person."""

    name: str
    broken: pl.Expr
    sentence: str


def rules_of(contract: Contract, received_at: datetime, schema: pl.Schema) -> list[Rule]:
    """The contract's rules in the order of its columns, for a frame of this schema.

    Faults that decoding noted (`NAME.fault`, see `cells.py`) are rules too; a frame may have none.
    """
    found: list[Rule] = []
    for column in contract.inputs:
        found += _faults(column, schema)
        found += _own(column, schema)
        if column.name == contract.time:
            found += _times(column.name, contract, received_at)
    found += _groups(contract, schema)
    return _distinct(found)


def rules_of_set(contract: Contract, received_at: datetime) -> list[Rule]:
    """The contract's rules of the columns that steps set, in their order; no step makes a NUL."""
    found = _of_made((column for column in contract.columns if column.set), contract, received_at)
    no_nul = {f"{column.name}.nul" for column in contract.columns if column.set}
    return [rule for rule in found if rule.name not in no_nul]


def rules_of_derived_key(contract: Contract, received_at: datetime) -> list[Rule]:
    """The contract's rules of the columns of its key that a transform derives: each must be there."""
    derived = (contract.column(name) for name in contract.key if name in contract.derived)
    required = (column.model_copy(update={"missing": Missing.REJECT}) for column in derived)
    return _of_made(required, contract, received_at)


def _of_made(columns: Iterable[Column], contract: Contract, received_at: datetime) -> list[Rule]:
    """The contract's rules of columns that are not read."""
    found: list[Rule] = []
    for column in columns:
        found += _own(column, pl.Schema())
        if column.name == contract.time:
            found += _times(column.name, contract, received_at)
    return found


def _faults(column: Column, schema: pl.Schema) -> Iterator[Rule]:
    """What kept a value from being read."""
    companion, name = cells.fault(column.name), column.name
    if companion not in schema:
        return
    for outer in column.source_path[:-1]:
        rule = f"{outer}.type"
        yield Rule(rule, pl.col(companion) == rule, f"{outer} is not an object")
    unread = {"type": f"is not {column.kind.said}", **column.kind.unread}
    if column.zone is not None:
        unread |= {
            "ambiguous": f"is of an hour that comes twice in {column.zone}",
            "nonexistent": f"is of an hour that {column.zone} skips",
        }
    if column.metadata is not None and column.metadata.is_of_envelope:
        unread["utf8"] = "is not UTF-8 text"
    if column.map is not None:
        unread |= {"type": "is no plain value", "map": "is none of those in its map"}
    for kind, sentence in unread.items():
        rule = f"{name}.{kind}"
        yield Rule(rule, pl.col(companion) == rule, f"{name} {sentence}")
    if column.type is ColumnType.DECIMAL:
        yield from _digits(column)


def _digits(column: Column) -> Iterator[Rule]:
    """What a decimal has no place for."""
    name, fault = column.name, pl.col(cells.fault(column.name))
    precision, scale = column.digits
    most = {"precision": f"{precision - scale} digits before", "scale": f"{scale} digits after"}
    for kind, sentence in most.items():
        broken = (fault == f"{name}.{kind}") | (fault == f"{name}.{BOTH}")
        yield Rule(f"{name}.{kind}", broken, f"{name} has more than {sentence} the point")


def _own(column: Column, schema: pl.Schema) -> Iterator[Rule]:
    """What the contract says of one column alone."""
    value, name = pl.col(column.name), column.name
    if column.required:
        yield Rule(f"{name}.required", _absent(name, schema), f"{name} is missing")
    if column.type is ColumnType.TEXT:
        yield Rule(f"{name}.nul", value.str.contains("\x00", literal=True), f"{name} holds a NUL character")
    if column.min_length is not None:
        short = value.str.len_chars() < column.min_length
        yield Rule(f"{name}.min_length", short, f"{name} has fewer than {column.min_length} characters")
    if column.max_length is not None:
        long = value.str.len_chars() > column.max_length
        yield Rule(f"{name}.max_length", long, f"{name} has more than {column.max_length} characters")
    if column.one_of is not None:
        named = ", ".join(map(str, column.one_of))
        yield Rule(f"{name}.one_of", ~value.is_in(_all_of(column)), f"{name} is none of {named}")
    if column.regex is not None:
        unlike = ~value.str.contains(whole(column.regex))
        yield Rule(f"{name}.regex", unlike, f"{name} does not match {column.regex}")
    limits = [
        *([value < _literal(column, column.minimum)] if column.minimum is not None else []),
        *([value > _literal(column, column.maximum)] if column.maximum is not None else []),
        *([~value.is_finite()] if column.type is ColumnType.FLOAT else []),
    ]
    if column.minimum is not None or column.maximum is not None:
        yield Rule(f"{name}.range", reduce(or_, limits), f"{name} is outside {_span(column)}")
    elif limits:
        yield Rule(f"{name}.finite", limits[0], f"{name} is not a finite number")


def _all_of(column: Column) -> Any:
    """The values of `one_of`; of decimals with their digits, for Polars takes others for other numbers."""
    said = list(column.one_of or ())
    if column.type is ColumnType.DECIMAL:
        return pl.Series(said, dtype=column.polars_type).implode()
    return said


def _literal(column: Column, value: Any) -> Any:
    """A value of the column; a decimal has the digits of its column."""
    return pl.lit(value, column.polars_type) if column.type is ColumnType.DECIMAL else value


def _times(name: str, contract: Contract, received_at: datetime) -> Iterator[Rule]:
    """The span of time the contract takes, seen from when the batch came."""
    time = pl.col(name)
    past, ahead = contract.oldest, contract.furthest
    oldest, furthest = time_literal(received_at - past), time_literal(received_at + ahead)
    yield Rule(f"{name}.oldest", time < oldest, f"{name} is more than {_days(past)} old")
    yield Rule(
        f"{name}.furthest",
        time > furthest,
        f"{name} is more than {_days(ahead)} ahead",
    )


def _groups(contract: Contract, schema: pl.Schema) -> Iterator[Rule]:
    for group in contract.together:
        absent = [_absent(name, schema) for name in group.columns]
        partly = pl.any_horizontal(absent) & ~pl.all_horizontal(absent)
        yield Rule(
            f"{group.name}.incomplete", partly, f"{group.name} needs {' and '.join(group.columns)} together"
        )


def _absent(name: str, schema: pl.Schema) -> pl.Expr:
    """True where a value was not given; one that was given and could not be read is not absent."""
    absent = pl.col(name).is_null()
    return absent & pl.col(cells.fault(name)).is_null() if cells.fault(name) in schema else absent


def _distinct(found: Sequence[Rule]) -> list[Rule]:
    """Rules of one name become one, broken where any of them is: `location.type` of both its columns.

    The last one's sentence stays: what the contract says of a column, whether or not a fault says it too.
    """
    by_name: dict[str, Rule] = {}
    for rule in found:
        known = by_name.get(rule.name)
        broken = known.broken.fill_null(False) | rule.broken.fill_null(False) if known else rule.broken
        by_name[rule.name] = Rule(rule.name, broken, rule.sentence)
    return list(by_name.values())


def split(frame: pl.DataFrame, rules: Sequence[Rule]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that keep every rule, and the others with RULES (List(String)): all they break, in order."""
    verdicts = frame.select(rule.broken.fill_null(False).alias(rule.name) for rule in rules)
    if not any(column.any() for column in verdicts.iter_columns()):
        return frame, frame.clear().with_columns(pl.lit([], pl.List(pl.String)).alias(RULES))
    broken = reduce(or_, verdicts.iter_columns())
    return frame.filter(~broken), frame.filter(broken).with_columns(_names(verdicts.filter(broken)))


def _names(verdicts: pl.DataFrame) -> pl.Series:
    """The names of the columns that are true, per row."""
    used = [name for name in verdicts.columns if verdicts[name].any()]
    named = [pl.when(pl.col(name)).then(pl.lit(name)).alias(name) for name in used]
    return verdicts.select(pl.concat_list(named).list.drop_nulls().alias(RULES)).to_series()


def fill_defaults(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Store the contract's defaults where a value is missing."""
    fills = [
        pl.col(c.name).fill_null(_literal(c, c.default)) for c in contract.inputs if c.default is not None
    ]
    return frame.with_columns(fills) if fills else frame


def _span(column: Column) -> str:
    low = "-∞" if column.minimum is None else f"{column.minimum:g}"
    high = "∞" if column.maximum is None else f"{column.maximum:g}"
    return f"{low} to {high}" + (f" {column.unit}" if column.unit else "")


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return "1 day" if days == 1 else f"{days:g} days"
