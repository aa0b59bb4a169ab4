"""JSON read strictly, and written as one text per value, so that the same content has the same hash.

Keys are sorted, there is no white space, and a whole number is written as an integer: an OT-2 answers
`"x": 0` for a run that is current and `"x": 0.0` for the same run once it is history.
"""

import json
import math
from typing import Any

import polars as pl

from tasks.contract import ColumnType, Contract

MAX_DEPTH = 100
_EXACT = 2**53  # above it a float no longer names one integer


def read_json(payload: bytes) -> Any:
    """The document of UTF-8 bytes; NaN and infinities come as floats, for the rules to reject.

    Raises ValueError with what is wrong: the encoding, the syntax, or nesting deeper than MAX_DEPTH.
    """
    try:
        document = json.loads(payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise ValueError(f"it nests deeper than {MAX_DEPTH} levels") from error
    _check_depth(document)
    return document


def canonical_json(value: Any) -> str:
    """The canonical text of a JSON value; a number that JSON does not have is written as a string."""
    return json.dumps(
        _whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _check_depth(document: Any) -> None:
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
        level = [child for value in level for child in _children(value)]


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    return value


def canonical_key(frame: pl.DataFrame, contract: Contract) -> pl.Series:
    """The natural key of each row as canonical JSON (String, n): sorted names, no spaces, µs in UTC.

    Null where a part of the key is missing, holds a NUL character, or is a time outside the years 1 to 9999:
    no store takes those.
    """
    names = sorted(contract.key)
    if not set(names) <= set(frame.columns):  # a step has not set it
        return pl.Series("key", [None] * frame.height, dtype=pl.String)
    parts: list[pl.Expr] = []
    for name in names:
        value = contract.column(name).kind.as_json(pl.col(name))
        parts += [pl.lit(f"{'{' if name == names[0] else ','}{json.dumps(name)}:"), value]
    text = pl.concat_str(*parts, pl.lit("}"))
    held = [pl.col(n) for n in names if contract.column(n).type is ColumnType.TEXT]
    storable = pl.all_horizontal(pl.lit(True), *(~c.str.contains("\x00", literal=True) for c in held))
    whole = frame.select(names).rechunk()  # Polars 2.1 panics where chunks end within such an expression
    return whole.select(pl.when(storable).then(text).alias("key")).to_series()
