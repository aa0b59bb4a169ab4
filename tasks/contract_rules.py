"""What a contract must keep so that its table can be made and every record be judged by it.

What breaks a rule would be ignored, or fail with every batch: it is refused when the contract is read. A
problem is where it stands in the contract, and a sentence.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import polars as pl

from tasks.contract_names import why_no_column, why_no_table
from tasks.exact_numbers import MOST
from tasks.types.kinds import TYPES
from tasks.units import UnitError, conversion

if TYPE_CHECKING:
    from tasks.contract import Column, Contract

Place = tuple[str | int, ...]
Problem = tuple[Place, str]

LONGEST: Final = timedelta(days=365_000)
"""Of `oldest` and `furthest`: what is further from today than this is no date."""
NUMBERS: Final = tuple(name for name, of in TYPES.items() if of.is_number)
_INT32: Final = 1 << 31
_READ: Final = (
    *("path", "metadata", "constant", "zone", "twice", "null_values", "map", "from_unit", "default"),
)
_RULES: Final = ("minimum", "maximum", "min_length", "max_length", "one_of", "regex")
_WORDS: Final = tuple(name for name, of in TYPES.items() if "one_of" in of.rules)
_NOT_OF_CONSTANT: Final = (
    *("path", "metadata", "zone", "twice", "null_values", "map", "from_unit", "default"),
)


def problems_of_column(column: "Column") -> Iterator[Problem]:
    """What is wrong with one column alone."""
    name = column.name
    if wrong := list(_of_digits(column)):
        yield from wrong
        return  # what else is said of a decimal is measured by its digits
    if why := why_no_column(name):
        hint = "" if column.derived or column.path else f", and say `from: {name}` where it is read"
        yield ("name",), why + hint
    if (column.missing == "default") != (column.default is not None):
        yield (), f"{name}: `missing: default` and a `default` go together"
    elif column.default is not None:
        yield from _of_value(column, "default")
    if column.path is not None and not column.path:
        yield ("from",), f"{name}: `from` is empty: name where it is read, or leave `from` out"
    if column.derived or column.set:
        how = "set by a step" if column.set else "derived"
        for said in _READ if column.set else (*_READ, *_RULES):
            if getattr(column, said) is not None:
                word = _word(said)
                yield (word,), f"{name} is {how}, so `{word}` does nothing: leave one of the two out"
    if column.derived and column.set:
        yield ("derived",), f"{name} is set by a step and derived: leave one of the two out"
    yield from _of_reading(column)
    yield from _of_limits(column)
    yield from _of_words(column)


def _of_digits(column: "Column") -> Iterator[Problem]:
    """A decimal says how many digits it has after the point, and nothing else does."""
    name = column.name
    if column.type != "decimal":
        for said in ("precision", "scale"):
            if getattr(column, said) is not None:
                yield (said,), f"{name}: `{said}` is of decimals, and this is {column.type}"
    elif column.scale is None:
        yield ("type",), f"{name}: say how many digits a decimal has after the point, as `scale: 2`"
    elif not 1 <= column.digits[0] <= MOST:
        yield ("precision",), f"{name}: `precision` is a number of digits, from 1 to {MOST}"
    elif not 0 <= column.scale <= column.digits[0]:
        yield ("scale",), f"{name}: `scale` is how many of its {column.digits[0]} digits are after the point"


def _word(field: str) -> str:
    """What a table's file calls it."""
    return "from" if field in ("path", "metadata") else field


def _of_reading(column: "Column") -> Iterator[Problem]:
    """What is said of reading a column fits its type, and does something."""
    name, kind = column.name, column.type
    if column.constant is not None:
        for said in _NOT_OF_CONSTANT:
            if getattr(column, said) is not None:
                word = _word(said)
                yield (word,), f"{name} is constant, so `{word}` does nothing: leave one of the two out"
        if kind == "json":
            yield ("constant",), f"{name}: JSON has no constant: make it text, or leave it out"
        else:
            yield from _of_value(column, "constant")
    if column.is_arrival or (column.metadata is not None and column.metadata.sent):
        yield from _of_moment(column)
    elif column.metadata is not None and kind == "json":
        yield ("from",), f"{name}: what comes beside a record is no JSON: make it text"
    yield from _of_zone(column)
    if column.null_values is not None and kind in ("boolean", "json"):
        yield ("null_values",), f"{name}: `null_values` stand in text, numbers and times, and this is {kind}"
    else:
        for value in column.null_values or ():
            if why := _why_no_null_value(column, value):
                yield ("null_values",), f"{name}: {why}"
    if column.map is not None:
        yield from _of_map(column)
    if column.from_unit is not None:
        yield from _of_unit(column)


def _of_moment(column: "Column") -> Iterator[Problem]:
    """When a record came or was sent is no text: a time, in UTC."""
    when = f"{column.name} is when the record {'came' if column.is_arrival else 'was sent'}"
    if column.type != "timestamp":
        yield ("type",), f"{when}: its type must be timestamp"
    for said in ("zone", "twice", "null_values"):
        if getattr(column, said) is not None:
            yield (said,), f"{when}, so `{said}` does nothing: leave it out"


def _why_no_null_value(column: "Column", value: str | float | Decimal) -> str:
    """Why a word of `null_values` would never be met, or not by every way of reading; empty: it is met."""
    if isinstance(value, str):
        if column.type in NUMBERS and column.map is None and _is_number(value):
            return f"{value!r} is a number: write it without quotes"
        return "" if TYPES["text"].takes(value, column.digits) else f"{value!r} holds what no text has"
    if column.type == "text" or column.map is not None:
        return f"what is read is text, never {value:g}: write it in quotes"
    if column.type == "timestamp":
        return "" if TYPES["float"].takes(value, column.digits) else f"{value!r} is not a number"
    return "" if _takes(column, value) else f"{_shown(value)} is not {_wanted(column)}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _of_zone(column: "Column") -> Iterator[Problem]:
    name = column.name
    if column.zone is not None:
        if column.type != "timestamp":
            yield ("zone",), f"{name}: `zone` is of times, and this is {column.type}"
        elif not is_zone(column.zone):
            yield (
                ("zone",),
                f"{name}: no time zone is {column.zone!r}: write an IANA name, as Europe/Berlin",
            )
    elif column.twice is not None:
        yield ("twice",), f"{name}: `twice` is of times in a `zone`: say which, or leave it out"


def _of_map(column: "Column") -> Iterator[Problem]:
    """Each value of `map` is one that the column would take."""
    name, kind = column.name, column.type
    if kind in ("timestamp", "json"):
        yield ("map",), f"{name}: `map` gives text, numbers and truth values, and this is {kind}"
    elif not column.map:
        yield ("map",), f"{name}: `map` is empty: leave it out"
    else:
        for read, value in column.map.items():
            if "\x00" in read:
                yield ("map",), f"{name}: {read!r} in `map` holds what no text has"
            if not _takes(column, value):
                made = f"`map` makes {_shown(value)} of {read!r}"
                yield ("map",), f"{name}: {made}, which is not {_wanted(column)}"


def _of_unit(column: "Column") -> Iterator[Problem]:
    """What is read can be converted, and somebody says to what."""
    name, from_unit, unit = column.name, column.from_unit or "", column.unit
    if column.type != "float":
        yield (
            ("from_unit",),
            f"{name}: a converted number is rounded: make it float, and not {column.type}",
        )
    elif unit is None:
        yield (
            ("from_unit",),
            f"{name}: say by `unit` what is stored: it is converted from {from_unit} to that",
        )
    elif column.map is not None:
        yield ("from_unit",), f"{name}: a `map` gives what is meant, in {unit}: leave `from_unit` out"
    else:
        try:
            conversion(from_unit, unit)
        except UnitError as error:
            yield (error.word,), f"{name}: {error}"


def is_zone(name: str) -> bool:
    """Whether Polars, which reads the times, knows a time zone of this name; offsets are none."""
    if not name[:1].isalpha():
        return False
    try:
        pl.Series([0], dtype=pl.Datetime("us")).dt.replace_time_zone(name)
    except pl.exceptions.ComputeError:
        return False
    return True


def _of_words(column: "Column") -> Iterator[Problem]:
    """The values that a column takes fit its type, and what its text must match can be matched."""
    name, kind = column.name, column.type
    if column.one_of is not None:
        if kind not in _WORDS:
            yield ("one_of",), f"{name}: `one_of` is a rule of {_all(_WORDS)}, and this is {kind}"
        elif not column.one_of:
            yield ("one_of",), f"{name}: `one_of` names no value: leave it out for any"
        for value in column.one_of:
            if kind in _WORDS and not _takes(column, value):
                yield ("one_of",), f"{name}: {_shown(value)} in `one_of` is not {_wanted(column)}"
    if column.regex is not None:
        if kind != "text":
            yield ("regex",), f"{name}: `regex` is a rule of text, and this is {kind}"
        elif why := why_no_regex(column.regex):
            yield ("regex",), f"{name}: `regex` is none: {why}"


def _of_limits(column: "Column") -> Iterator[Problem]:
    """The limits fit the type, and something is within them."""
    name, kind = column.name, column.type
    for limits, kinds in ((("minimum", "maximum"), NUMBERS), (("min_length", "max_length"), ("text",))):
        low, high = (getattr(column, limit) for limit in limits)
        for limit, value in zip(limits, (low, high), strict=True):
            if value is None:
                continue
            if kind not in kinds:
                yield (limit,), f"{name}: `{limit}` is a rule of {_all(kinds)}, and this is {kind}"
            elif not math.isfinite(value):
                yield (limit,), f"{name}: `{limit}` must be a finite number: leave it out for no limit"
            elif kind == "text" and value < 0:
                yield (limit,), f"{name}: `{limit}` is a number of characters, so 0 or more"
            elif kind == "decimal" and not _takes(column, value):
                yield (limit,), f"{name}: `{limit}` {_shown(value)} is not {_wanted(column)}"
        if low is not None and high is not None and low > high:
            yield (limits[0],), f"{name}: `{limits[0]}` {low:g} is above `{limits[1]}` {high:g}"


def _of_value(column: "Column", said: str) -> Iterator[Problem]:
    """Its default, or what it always is, is a value that the column itself would take."""
    name, kind, value = column.name, column.type, getattr(column, said)
    what = f"{name}: the {said} {_shown(value)}"
    if kind == "timestamp":
        hint = "let it be null, or required" if said == "default" else "leave it out"
        yield (said,), f"{name}: a timestamp has no {said}: {hint}"
    elif not _takes(column, value):
        yield (said,), f"{what} is not {_wanted(column)}"
    elif kind in NUMBERS and not _within(value, column.minimum, column.maximum):
        yield (said,), f"{what} is outside its own minimum and maximum"
    elif kind == "text" and not _within(len(str(value)), column.min_length, column.max_length):
        yield (said,), f"{what} is shorter or longer than its own rules say"
    elif column.one_of is not None and value not in column.one_of:
        yield (said,), f"{what} is none of its own `one_of`"
    elif column.regex is not None and not (why_no_regex(column.regex) or matches(str(value), column.regex)):
        yield (said,), f"{what} does not match its own `regex`"


def whole(regex: str) -> str:
    """The pattern that a text contains when the whole of it matches."""
    return rf"\A(?:{regex})\z"


def matches(text: str, regex: str) -> bool:
    """As the rule of a frame decides it: by the same library."""
    return bool(pl.Series([text]).str.contains(whole(regex)).item())


def why_no_regex(regex: str) -> str:
    """Why a pattern cannot be read, in one line; empty when it can."""
    try:
        matches("", regex)
    except pl.exceptions.ComputeError as error:
        return " ".join(str(error).split())
    return ""


def _takes(column: "Column", value: object) -> bool:
    """Whether a value is of the column's type."""
    return column.kind.takes(value, column.digits)


def _wanted(column: "Column") -> str:
    """What a value of the column's type is."""
    return column.kind.wanted(column.digits)


def _shown(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else repr(value)


def _all(kinds: Sequence[str]) -> str:
    return ", ".join(kinds[:-1]) + " and " * (len(kinds) > 1) + kinds[-1]


def _within(value: object, low: float | Decimal | None, high: float | Decimal | None) -> bool:
    assert isinstance(value, int | float | Decimal)  # noqa: S101 - asked of numbers alone
    return (low is None or value >= low) and (high is None or value <= high)


def problems_of_contract(contract: "Contract") -> Iterator[Problem]:
    """What is wrong with the contract as a whole; its columns are asked alone."""
    if why := why_no_table(contract.table):
        yield ("name",), why
    names = Counter(column.name for column in contract.columns)
    if twice := [name for name, count in names.items() if count > 1]:
        yield ("columns",), f"{contract.table}: a column is named twice: {', '.join(twice)}"
        return
    grouped = [name for group in contract.together for name in group.columns]
    time = () if contract.time is None else (contract.time,)
    unknown = [name for name in (*contract.key, *time, *grouped) if name not in names]
    if unknown:
        yield (), f"{contract.table}: {unknown[0]} is not one of its columns"
        return
    yield from _of_time(contract)
    yield from _of_key(contract)
    yield from _of_names(contract)
    yield from _of_groups(contract)
    yield from _of_paths(contract)
    for name in ("version", "max_bytes"):
        if not 1 <= getattr(contract, name) < _INT32:
            yield (name,), f"{contract.table}: `{name}` must be from 1 to {_INT32 - 1:,}"
    for name, least in (("oldest", timedelta(microseconds=1)), ("furthest", timedelta(0))):
        if not least <= getattr(contract, name) <= LONGEST:
            yield (name,), f"{contract.table}: `{name}` is a time span from 0 to {LONGEST.days:,} days"


def _of_names(contract: "Contract") -> Iterator[Problem]:
    """What a column was called before is no other column's name; a column of the key keeps its own."""
    names = {column.name for column in contract.columns}
    for at, column in enumerate(contract.columns):
        if column.was and (column.was in names or column.name in contract.key):
            yield (
                ("columns", at, "was"),
                f"{contract.table}: {column.name}, was {column.was}: that is a key or a column",
            )


def _of_time(contract: "Contract") -> Iterator[Problem]:
    """The time in the key partitions the table; what has none is a reference table, which revises."""
    table = contract.table
    if contract.time is None:
        if contract.on_return != "revise":
            hint = "" if contract.on_return == "recompute" else ", or say `on_return: revise`"
            said = f"it has no `time`, and {contract.on_return} needs one: name its `time`{hint}"
            yield ("on_return",), f"{table}: {said}"
        return
    if contract.time not in contract.key:
        yield ("key",), f"{table}: the key must hold the time column {contract.time}"
    if (kind := contract.column(contract.time).type) != "timestamp":
        yield ("time",), f"{table}: the time column {contract.time} is {kind}: its type must be timestamp"


def _of_key(contract: "Contract") -> Iterator[Problem]:
    """A row has one key, of values that are there and in an order."""
    table = contract.table
    if len(set(contract.key)) != len(contract.key):
        yield ("key",), f"{table}: the key names a column twice"
    for at, column in enumerate(contract.columns):
        if column.name not in contract.key:
            continue
        if column.is_arrival:
            yield (
                ("columns", at, "from"),
                f"{table}: {column.name} is when the record came, so it cannot be in the key: "
                "delivered again, the record would be another row",
            )
        if column.type == "json":
            yield (
                ("columns", at, "type"),
                f"{table}: JSON has no order, so {column.name} cannot be in the key",
            )
        if not column.derived and column.missing != "reject":
            yield (
                ("columns", at, "default"),
                f"{table}: {column.name} is in the key, so it is required: leave its default out",
            )


def _of_groups(contract: "Contract") -> Iterator[Problem]:
    for at, group in enumerate(contract.together):
        place = ("together", at, "columns")
        if len(set(group.columns)) != len(group.columns) or len(group.columns) < 2:
            yield place, f"{contract.table}: {group.name} needs two columns or more, each once"
        for name in group.columns:
            if (column := contract.column(name)).derived or column.set:
                how = "set by a step" if column.set else "derived"
                said = f"{contract.table}: {name} is {how}, so nobody gives it: leave it out of {group.name}"
                yield place, said


def _of_paths(contract: "Contract") -> Iterator[Problem]:
    """A value of the input goes to one column: decoding by shapes knows one for each."""
    taken: dict[str, str] = {}
    for at, column in enumerate(contract.columns):
        if column.derived or column.set or column.metadata is not None or column.constant is not None:
            continue
        path = ".".join(column.source_path)
        if path in taken:
            said = f"{taken[path]} and {column.name} are both read from {path}: leave one out"
            yield ("columns", at), f"{contract.table}: {said}"
        taken[path] = column.name
