"""What a contract must keep so that its table can be made and every record be judged by it.

What breaks a rule would be ignored, or fail with every batch: it is refused when the contract is read. A
problem is where it stands in the contract, and a sentence.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tasks.contract_names import why_no_column, why_no_table

if TYPE_CHECKING:
    from tasks.contract import Column, Contract

Place = tuple[str | int, ...]
Problem = tuple[Place, str]

LONGEST: Final = timedelta(days=365_000)
"""Of `oldest` and `furthest`: what is further from today than this is no date."""
NUMBERS: Final = ("float", "integer")
_INT64: Final = 1 << 63
_READ: Final = ("path", "minimum", "maximum", "min_length", "max_length", "default")
_KINDS: Final = {"float": "a number", "integer": "a whole number of 64 bits", "boolean": "true or false"}


def problems_of_column(column: "Column") -> Iterator[Problem]:
    """What is wrong with one column alone."""
    name = column.name
    if why := why_no_column(name):
        hint = "" if column.derived or column.path else f", and say `path: [{name}]` where it is read"
        yield ("name",), why + hint
    if (column.missing == "default") != (column.default is not None):
        yield (), f"{name}: `missing: default` and a `default` go together"
    elif column.default is not None:
        yield from _of_default(column)
    if column.path is not None and not column.path:
        yield ("path",), f"{name}: `path` is empty: name where it is read, or leave `path` out"
    if column.derived:
        for said in _READ:
            if getattr(column, said) is not None:
                yield (said,), f"{name} is derived, so `{said}` does nothing: leave one of the two out"
    yield from _of_limits(column)


def _of_limits(column: "Column") -> Iterator[Problem]:
    """The limits fit the type, and something is within them."""
    name, kind = column.name, column.type
    for limits, kinds in ((("minimum", "maximum"), NUMBERS), (("min_length", "max_length"), ("text",))):
        low, high = (getattr(column, limit) for limit in limits)
        for limit, value in zip(limits, (low, high), strict=True):
            if value is None:
                continue
            if kind not in kinds:
                yield (limit,), f"{name}: `{limit}` is a rule of {' and '.join(kinds)}, and this is {kind}"
            elif not math.isfinite(value):
                yield (limit,), f"{name}: `{limit}` must be a finite number: leave it out for no limit"
            elif kind == "text" and value < 0:
                yield (limit,), f"{name}: `{limit}` is a number of characters, so 0 or more"
        if low is not None and high is not None and low > high:
            yield (limits[0],), f"{name}: `{limits[0]}` {low:g} is above `{limits[1]}` {high:g}"


def _of_default(column: "Column") -> Iterator[Problem]:
    """The default is a value that the column itself would take."""
    name, kind, value = column.name, column.type, column.default
    if kind == "timestamp":
        yield ("default",), f"{name}: a timestamp has no default: let it be null, or required"
    elif not _fits(kind, value):
        wanted = _KINDS.get(kind, "a text that is JSON" if kind == "json" else "text without NUL")
        yield ("default",), f"{name}: the default {value!r} is not {wanted}"
    elif kind in NUMBERS and not _within(value, column.minimum, column.maximum):
        yield ("default",), f"{name}: the default {value!r} is outside its own minimum and maximum"
    elif kind == "text" and not _within(len(str(value)), column.min_length, column.max_length):
        yield ("default",), f"{name}: the default {value!r} is shorter or longer than its own rules say"


def _fits(kind: str, value: object) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "float":
        return whole or (isinstance(value, float) and math.isfinite(value))
    if kind == "integer":
        return isinstance(value, int) and whole and -_INT64 <= value < _INT64
    if kind == "boolean":
        return isinstance(value, bool)
    return isinstance(value, str) and "\x00" not in value and (kind == "text" or _is_json(value))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _within(value: object, low: float | None, high: float | None) -> bool:
    assert isinstance(value, int | float)  # noqa: S101 - asked of numbers alone
    return (low is None or value >= low) and (high is None or value <= high)


def problems_of_contract(contract: "Contract") -> Iterator[Problem]:
    """What is wrong with the contract as a whole; its columns are asked alone."""
    if why := why_no_table(contract.table):
        yield ("table",), why
    names = Counter(column.name for column in contract.columns)
    if twice := [name for name, count in names.items() if count > 1]:
        yield ("columns",), f"{contract.table}: a column is named twice: {', '.join(twice)}"
        return
    grouped = [name for group in contract.together for name in group.columns]
    unknown = [name for name in (*contract.key, contract.time, *grouped) if name not in names]
    if unknown:
        yield (), f"{contract.table}: {unknown[0]} is not one of its columns"
        return
    yield from _of_key(contract)
    yield from _of_groups(contract)
    yield from _of_paths(contract)
    for name in ("version", "max_bytes"):
        if getattr(contract, name) < 1:
            yield (name,), f"{contract.table}: `{name}` must be 1 or more"
    for name, least in (("oldest", timedelta(microseconds=1)), ("furthest", timedelta(0))):
        if not least <= getattr(contract, name) <= LONGEST:
            yield (name,), f"{contract.table}: `{name}` is a time span from 0 to {LONGEST.days:,} days"


def _of_key(contract: "Contract") -> Iterator[Problem]:
    """A row has one key, of values that are there and in an order; the time in it partitions the table."""
    table = contract.table
    if len(set(contract.key)) != len(contract.key):
        yield ("key",), f"{table}: the key names a column twice"
    if contract.time not in contract.key:
        yield ("key",), f"{table}: the key must hold the time column {contract.time}"
    if (kind := contract.column(contract.time).type) != "timestamp":
        yield ("time",), f"{table}: the time column {contract.time} is {kind}: its type must be timestamp"
    for at, column in enumerate(contract.columns):
        if column.name not in contract.key:
            continue
        if column.type == "json":
            yield (
                ("columns", at, "type"),
                f"{table}: JSON has no order, so {column.name} cannot be in the key",
            )
        if not column.derived and column.missing != "reject":
            yield (
                ("columns", at, "missing"),
                f"{table}: {column.name} is in the key, so it is required: leave `missing` out",
            )


def _of_groups(contract: "Contract") -> Iterator[Problem]:
    for at, group in enumerate(contract.together):
        place = ("together", at, "columns")
        if len(set(group.columns)) != len(group.columns) or len(group.columns) < 2:
            yield place, f"{contract.table}: {group.name} needs two columns or more, each once"
        for name in group.columns:
            if contract.column(name).derived:
                yield (
                    place,
                    f"{contract.table}: {name} is derived, so nobody gives it: leave it out of {group.name}",
                )


def _of_paths(contract: "Contract") -> Iterator[Problem]:
    """A value of the input goes to one column: decoding by shapes knows one for each."""
    taken: dict[str, str] = {}
    for at, column in enumerate(contract.columns):
        if column.derived:
            continue
        path = ".".join(column.source_path)
        if path in taken:
            said = f"{taken[path]} and {column.name} are both read from {path}: leave one out"
            yield ("columns", at), f"{contract.table}: {said}"
        taken[path] = column.name
