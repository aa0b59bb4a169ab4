"""Where the first lines of a text end, and so how its lines end: by LF (and CRLF), or by CR alone."""

import re
from dataclasses import dataclass
from typing import Final

from tasks.layout import MAX_RECORD

LF: Final = b"\n"
CR: Final = b"\r"

_CSV_LINE: Final = re.compile(rb'(?:[^"\r\n]++|"[^"]*+")*+')
_LINE: Final = re.compile(rb"[^\r\n]*+")


@dataclass(frozen=True, slots=True)
class Opening:
    """The first lines of a text: so many bytes, and how lines end."""

    length: int
    line_end: bytes


def csv_opening(head: bytes, skip: int, *, header: bool, ended: bool) -> Opening | None:
    """The lines before the records of CSV; None: more bytes are needed to tell.

    What is skipped are lines whatever stands in them; in the header a line end within quotes is none.
    Of a text with fewer lines it is all of them.
    """
    first = first_line(head, ended=ended) if skip else first_csv_line(head, ended=ended)
    if first is None:
        return None
    skipped = _length(head, skip, first.line_end)
    if skipped is None:
        return Opening(len(head), first.line_end) if ended else None
    if not header:
        return Opening(skipped, first.line_end)
    found = first_csv_line(head[skipped:], ended=ended)
    return found and Opening(skipped + found.length, first.line_end)


def _length(head: bytes, lines: int, line_end: bytes) -> int | None:
    """How many bytes so many lines have; None: there are fewer, or the last one does not end."""
    *there, _ = head.split(line_end, lines)
    return None if len(there) < lines else sum(map(len, there)) + lines * len(line_end)


def first_csv_line(head: bytes, *, ended: bool) -> Opening | None:
    """The first line of CSV: a line end within quotes is none, unless the quote was left open."""
    at = _end(_CSV_LINE, head)
    if head[at : at + 1] != b'"':
        return _ending_at(at, head, ended=ended)
    return first_line(head, ended=ended) if ended or len(head) > MAX_RECORD else None


def first_line(head: bytes, *, ended: bool) -> Opening | None:
    """The first line of any text; None: more bytes are needed to tell."""
    return _ending_at(_end(_LINE, head), head, ended=ended)


def _ending_at(at: int, head: bytes, *, ended: bool) -> Opening | None:
    found = head[at : at + 2]
    if not ended and (not found or found == CR):
        return None
    if found.startswith(CR) and found != CR + LF:
        return Opening(at + 1, CR)
    return Opening(min(len(head), at + (2 if found == CR + LF else 1)), LF)


def _end(pattern: re.Pattern[bytes], head: bytes) -> int:
    found = pattern.match(head)
    assert found is not None  # noqa: S101 - both match an empty line
    return found.end()
