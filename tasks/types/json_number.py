"""Numbers of JSON as Python reads them, and JSON's tokens as regular expressions."""

import math
from typing import Any, Final

WHOLE: Final = float(1 << 53)
"""From here on two whole numbers may be one double."""
TEXT: Final = r'[^"\\\x00-\x1f]*'
NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
QUOTED: Final = f'"({TEXT})"'
"""A group: a text without escapes, in its quotes."""


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def is_non_finite(value: Any) -> bool:
    """Whether it is NaN, an infinity or an integer beyond a double."""
    try:
        return is_number(value) and not math.isfinite(value)
    except OverflowError:
        return True
