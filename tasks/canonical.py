"""JSON read strictly, and written as one text per value, so that the same content has the same hash.

Keys are sorted, there is no white space, and a whole number is written as an integer: an OT-2 answers
`"x": 0` for a run that is current and `"x": 0.0` for the same run once it is history.
"""

import json
import math
from typing import Any

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
