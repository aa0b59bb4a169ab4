"""Where the first line of a text ends, and so how its lines end: by LF (and CRLF), or by CR alone."""

import re
from typing import Final

from tasks.batch import Format
from tasks.layout import MAX_RECORD

LF: Final = b"\n"
CR: Final = b"\r"

_CSV_LINE: Final = re.compile(rb'(?:[^"\r\n]++|"[^"]*+")*+')
_LINE: Final = re.compile(rb"[^\r\n]*+")


def first_line(head: bytes, text_format: Format, *, ended: bool) -> tuple[int, bytes] | None:
    """How many bytes the first line has, and how it ends; None: more bytes are needed to tell.

    A line end within quotes is none in CSV, unless the quote was left open.
    """
    pattern = _CSV_LINE if text_format is Format.CSV else _LINE
    at = _end(pattern, head)
    if head[at : at + 1] == b'"':
        if not ended and len(head) <= MAX_RECORD:
            return None
        at = _end(_LINE, head)
    found = head[at : at + 2]
    if not ended and len(found) < 2:
        return None
    if found.startswith(CR) and found != CR + LF:
        return at + 1, CR
    return min(len(head), at + (2 if found == CR + LF else 1)), LF


def _end(pattern: re.Pattern[bytes], head: bytes) -> int:
    found = pattern.match(head)
    assert found is not None  # noqa: S101 - both match an empty line
    return found.end()
