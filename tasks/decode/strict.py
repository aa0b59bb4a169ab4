"""The strict way to decode: one record at a time, and the definition of what a message means.

* The bytes are UTF-8 without a byte order mark, and one JSON object (RFC 8259) nested at most 1,024 deep;
  200 where a column keeps JSON and the message holds a number of 19 digits, and where one is a decimal.
* A name that comes twice: the last one wins. Names that the contract does not know are ignored.
* A null is a missing value. A number may be written as an integer where a float is due, and below 2^53 as a
  float without a fraction where an integer is due. Minus zero is zero. A string is never read as a number,
  nor a number as a string, nor a truth value as either: `NAME.type`. But a decimal is read from both, digit
  for digit as it is written (`types/decimal.py`).
* NaN, the infinities and numbers beyond a double break `NAME.finite` where the contract reads them; anywhere
  else in the message they make it no JSON: `payload.json`.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Final, cast

import orjson
import polars as pl
from pydantic_core import from_json

from tasks.contract import Column, ColumnType, Contract
from tasks.decode import cells
from tasks.types.json_number import WHOLE, is_non_finite, is_number
from tasks.types.type import Cell

Path = tuple[str, ...]
Record = dict[str | Path, Any]
"""A JSON object; the text of a number that is read as a decimal stands beside it, under its path."""

_LARGE: Final = re.compile(rb"[0-9]{19}")  # digits that may be an integer beyond 64 bits
_DEEP: Final = 200  # levels, of what reads every digit
_SUSPECT: Final = re.compile(r"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{200}")  # what may not be finite


class NoJson(str):
    """The rule `payload.json` of a payload that was parsed already; `why`: as `why_not` says it."""

    why: str


def decimals_of(contract: Contract) -> Sequence[Path]:
    """Where decimals stand; one with a `map` is looked up as text."""
    recorded = contract.recorded
    return [c.source_path for c in recorded if c.kind.has_digits and c.map is None]


def read(payload: bytes, contract: Contract, decimals: Sequence[Path]) -> Record | str:
    """The JSON object in a payload, or the name of the rule that it breaks; `decimals`: of the contract."""
    record = _read(payload, contract)
    if not decimals or isinstance(record, str):
        return record
    if payload.count(b"{") + payload.count(b"[") > _DEEP and isinstance(_exact(payload), str):
        return "payload.json"
    if any(type(_dig(record, path)) in (int, float) for path in decimals):
        return _with_digits(record, payload, decimals)
    return record


class _Digits(str):
    """A number as it is written."""


def _with_digits(record: Record, payload: bytes, decimals: Sequence[Path]) -> Record:
    """The record, which is read already, and the numbers at these paths as they are written."""
    written = json.loads(payload, parse_float=_Digits, parse_int=_Digits)
    found = {path: _dig(written, path) for path in decimals}
    return {**record, **{path: str(text) for path, text in found.items() if isinstance(text, _Digits)}}


def _read(payload: bytes, contract: Contract) -> Record | str:
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return _why_not(payload, contract, error)
    if not isinstance(record, dict):
        return "payload.object"
    if _LARGE.search(payload) and any(column.type is ColumnType.JSON for column in contract.recorded):
        return _exact(payload)
    return record


def _exact(payload: bytes) -> Record | str:
    """The object with its integers as they are, for a contract that keeps JSON of it.

    orjson takes an integer beyond 64 bits for a double; who reads it exactly reads 200 levels and no more.
    """
    try:
        return cast("Record", from_json(payload))
    except ValueError:
        return "payload.json"


def _why_not(payload: bytes, contract: Contract, error: orjson.JSONDecodeError) -> Record | str:
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return "payload.utf8"
    if record := _with_non_finite(text, contract):
        return record
    no_json = NoJson("payload.json")
    no_json.why = _said(error)
    return no_json


def _said(error: orjson.JSONDecodeError) -> str:
    byte = len(error.doc[: error.pos].encode("utf-8", "replace")) + 1
    return f"{error.msg}, at byte {byte} (line {error.lineno}, column {error.colno})"


def why_not(payload: bytes, rule: str) -> str | None:
    """Where a payload breaks a rule of decoding, and why; None when there is no more to say than the rule."""
    if rule == "payload.utf8":
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError as error:
            return f"{error.reason} at byte {error.start + 1}"
    if rule == "payload.json":
        try:
            orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            return _said(error)
        try:
            from_json(payload)
        except ValueError as error:
            return str(error)
    return None


def _with_non_finite(text: str, contract: Contract) -> Record | None:
    """The record of a text that fails only by numbers that are not finite, all where a column reads them."""
    if not _SUSPECT.search(text):
        return None
    try:
        record = from_json(text, allow_inf_nan=True)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    here = sum(is_non_finite(_dig(record, column.source_path)) for column in contract.recorded)
    return record if 0 < here == _count_non_finite(record) else None


def _count_non_finite(value: Any) -> int:
    """How many numbers in a decoded value are not finite; its depth is bounded by the parser."""
    if isinstance(value, dict):
        return sum(map(_count_non_finite, value.values()))
    if isinstance(value, list):
        return sum(map(_count_non_finite, value))
    return int(is_non_finite(value))


def _dig(record: Any, path: Sequence[str]) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def tabulate(records: Sequence[Record], contract: Contract) -> pl.DataFrame:
    """Typed cells of decoded records (n), without their sequence; see `cells.py`."""
    series: list[pl.Series] = []
    for column in contract.recorded:
        values, faults = _reach(records, column.source_path)
        if column.kind.has_digits:
            values = [
                record.get(column.source_path, value) for record, value in zip(records, values, strict=True)
            ]
        series += _column(column, values, faults)
    return pl.DataFrame(series)


def _reach(records: Sequence[Record], path: Path) -> tuple[list[Any], list[str | None]]:
    """The values at a path, and `OUTER.type` where something on the way is no object."""
    values: list[Any] = [record.get(path[0]) for record in records]
    faults: list[str | None] = [None] * len(records)
    for depth, name in enumerate(path[1:], start=1):
        for at, value in enumerate(values):
            if type(value) is dict:
                values[at] = value.get(name)
            elif value is not None:
                values[at], faults[at] = None, f"{path[depth - 1]}.type"
    return values, faults


def _column(column: Column, values: list[Any], faults: list[str | None]) -> list[pl.Series]:
    """The cells of one column, its epochs when it is a timestamp, and its faults."""
    extra: list[pl.Series] = []
    if words := cells.null_words(column):
        values = [None if type(value) is str and value in words else value for value in values]
    if column.kind.has_epoch:
        epochs: list[float | None] = [None] * len(values)
        for at, value in enumerate(values):
            if is_non_finite(value):
                values[at], faults[at] = None, f"{column.name}.unit"
            elif is_number(value):
                values[at], epochs[at] = None, float(value)
        extra.append(pl.Series(cells.epoch(column.name), epochs, pl.Float64))
    if not cells.kind_of(column).are_plain(values):
        reader = _written if column.map is not None else column.kind.from_json
        for at, value in enumerate(values):
            if value is not None:
                values[at], kind = reader(value)
                faults[at] = f"{column.name}.{kind}" if kind else faults[at]
    cell = pl.Series(column.name, values, cells.type_of(column))
    return [cell, *extra, pl.Series(cells.fault(column.name), faults, pl.String)]


def _written(value: Any) -> Cell:
    """What a `map` is asked for: text, `true` and `false`, a whole number without a point."""
    if type(value) is bool:
        return ("true" if value else "false"), None
    if type(value) is float:
        whole = math.isfinite(value) and value.is_integer() and abs(value) < WHOLE
        return (str(int(value)), None) if whole else (None, "map")
    return (str(value), None) if type(value) in (str, int) else (None, "type")
