"""One record against its contract: its typed values and every rule it breaks.

For sources that come in records of a few hundred; a stream of readings is checked by the frame.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.canonical import canonical_json
from tasks.contract import Column, ColumnType, Contract, Missing, Together
from tasks.contract_rules import matches
from tasks.types.timestamp import TEXT

_INT64 = 2**63
_TIME = re.compile(TEXT)
# Rules that a decoded value breaks; any other means that it could not be decoded.
_OF_VALUES = frozenset(
    {
        *("range", "oldest", "furthest", "min_length", "max_length", "one_of", "regex"),
        *("location", "incomplete"),
    }
)

SENTENCES = {
    "required": "{column} is missing",
    "type": "{column} has the wrong type",
    "format": "{column} is not an RFC 3339 time",
    "zone": "{column} has no time zone",
    "range": "{column} is out of range",
    "finite": "{column} is not a finite number",
    "nul": "{column} holds a NUL character",
    "unicode": "{column} holds half a surrogate pair",
    "min_length": "{column} is too short",
    "max_length": "{column} is too long",
    "one_of": "{column} is none of the values that the contract takes",
    "regex": "{column} does not match what the contract says",
    "incomplete": "{column} is given in part",
    "location": "{column} is not the one in the address it came from",
    "oldest": "{column} is older than the contract takes",
    "furthest": "{column} is further in the future than the contract takes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A record's values by column (null where a value could not be decoded) and the rules it breaks."""

    values: Mapping[str, Any]
    rules: tuple[str, ...]


def check_record(record: Mapping[str, Any], contract: Contract) -> Checked:
    """Every input column of `contract`, read from `record` by its path."""
    values: dict[str, Any] = {}
    rules: list[str] = []
    for column in contract.inputs:
        raw, broken = _find(record, column)
        if raw is None and not broken:
            values[column.name], broken = _missing(column)
        elif raw is not None:
            values[column.name], broken = _decode(raw, column)
        else:
            values[column.name] = None
        rules += broken
    rules += [f"{group.name}.incomplete" for group in contract.together if _partly(group, record, contract)]
    return Checked(values=values, rules=tuple(dict.fromkeys(rules)))


def _partly(group: Together, record: Mapping[str, Any], contract: Contract) -> bool:
    """Whether a record gives some of a group's columns and not the others."""
    given = {_find(record, contract.column(name)) != (None, []) for name in group.columns}
    return len(given) > 1


def check_text(name: str, text: str) -> list[str]:
    """What Postgres cannot store in a text."""
    rules = [f"{name}.nul"] if "\x00" in text else []
    if any("\ud800" <= character <= "\udfff" for character in text):
        rules.append(f"{name}.unicode")
    return rules


def check_time(value: datetime, contract: Contract, received_at: datetime) -> list[str]:
    """The oldest and the furthest time that the contract takes, as seen at `received_at`."""
    if value < received_at - contract.oldest:
        return [f"{contract.time}.oldest"]
    if value > received_at + contract.furthest:
        return [f"{contract.time}.furthest"]
    return []


def rule_class(rule: str) -> str:
    """`range` of `temperature.range`."""
    return rule.rpartition(".")[2]


def decoded(rules: Sequence[str]) -> bool:
    """Whether a record with these broken rules could be decoded all the same."""
    return all(rule_class(rule) in _OF_VALUES for rule in rules)


def sentence(rules: Sequence[str]) -> str:
    """What a person reads about a rejected record."""
    return "; ".join(
        SENTENCES.get(rule_class(rule), "{column} breaks " + rule).format(column=rule.rpartition(".")[0])
        for rule in rules
    )


def _find(record: Mapping[str, Any], column: Column) -> tuple[Any, list[str]]:
    value: Any = record
    path = column.path or (column.name,)
    for depth, key in enumerate(path):
        if value is None:
            return None, []
        if not isinstance(value, Mapping):
            return None, [".".join(path[:depth]) + ".type"]
        value = value.get(key)
    return value, []


def _missing(column: Column) -> tuple[Any, list[str]]:
    if column.missing is Missing.REJECT:
        return None, [f"{column.name}.required"]
    return (column.default if column.missing is Missing.DEFAULT else None), []


def _decode(raw: Any, column: Column) -> tuple[Any, list[str]]:
    match column.type:
        case ColumnType.TEXT:
            return _text(raw, column)
        case ColumnType.FLOAT | ColumnType.INTEGER:
            return _number(raw, column)
        case ColumnType.DECIMAL:  # refused by the transform: these records were read with doubles
            return None, [f"{column.name}.type"]
        case ColumnType.BOOLEAN:
            return (raw, []) if isinstance(raw, bool) else (None, [f"{column.name}.type"])
        case ColumnType.TIMESTAMP:
            return _timestamp(raw, column)
        case ColumnType.JSON:
            rules = _json_rules(raw, column.name)
            return (None, rules) if rules else (canonical_json(raw), [])


def _text(raw: Any, column: Column) -> tuple[str | None, list[str]]:
    if not isinstance(raw, str):
        return None, [f"{column.name}.type"]
    if rules := check_text(column.name, raw):
        return None, rules
    broken = {
        "min_length": column.min_length is not None and len(raw) < column.min_length,
        "max_length": column.max_length is not None and len(raw) > column.max_length,
        "one_of": column.one_of is not None and raw not in column.one_of,
        "regex": column.regex is not None and not matches(raw, column.regex),
    }
    return raw, [f"{column.name}.{kind}" for kind, is_broken in broken.items() if is_broken]


def _number(raw: Any, column: Column) -> tuple[float | int | None, list[str]]:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None, [f"{column.name}.type"]
    if isinstance(raw, float) and not math.isfinite(raw):
        return None, [f"{column.name}.finite"]
    if not -_INT64 <= raw < _INT64:
        return None, [f"{column.name}.range"]
    if column.type is ColumnType.INTEGER and raw != int(raw):
        return None, [f"{column.name}.type"]
    value = int(raw) if column.type is ColumnType.INTEGER else float(raw)
    low, high = column.minimum, column.maximum
    broken = {
        "one_of": column.one_of is not None and value not in column.one_of,
        "range": (low is not None and value < low) or (high is not None and value > high),
    }
    return value, [f"{column.name}.{kind}" for kind, is_broken in broken.items() if is_broken]


def _timestamp(raw: Any, column: Column) -> tuple[datetime | None, list[str]]:
    if not isinstance(raw, str):
        return None, [f"{column.name}.type"]
    if not _TIME.fullmatch(raw):
        return None, [f"{column.name}.format"]
    try:
        value = datetime.fromisoformat(raw.upper())
    except ValueError:
        return None, [f"{column.name}.format"]
    if value.tzinfo is None:
        return None, [f"{column.name}.zone"]
    try:
        return value.astimezone(UTC), []
    except OverflowError:  # the year 1 east of Greenwich
        return None, [f"{column.name}.range"]


def _json_rules(raw: Any, name: str) -> list[str]:
    """What no jsonb can hold, anywhere in the value."""
    rules: list[str] = []
    todo = [raw]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, str):
            rules += check_text(name, value)
        elif isinstance(value, float) and not math.isfinite(value):
            rules.append(f"{name}.finite")
    return list(dict.fromkeys(rules))
