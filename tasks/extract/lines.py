"""Where the first lines of a text end, and so how its lines end: by LF (and CRLF), or by CR alone."""

import re
from dataclasses import dataclass
from typing import Final

from tasks.layout import MAX_RECORD

LF: Final = b"\n"
CR: Final = b"\r"

_CSV_LINE: Final = re.compile(rb'(?:[^"\r\n]++|"[^"]*+")*+')
_CSV_LINES: Final = {end: re.compile(rb'(?:[^"' + end + rb']++|"[^"]*+")*+') for end in (LF, CR)}
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
    if not skip:
        first = _first_csv_line(head, ended=ended)
        return first if header else first and Opening(0, first.line_end)
    first = first_line(head, ended=ended)
    if first is None:
        return None
    ended = ended or len(head) > MAX_RECORD
    length = _length(head, skip, first.line_end)
    if length is not None and header:
        length = _behind_header(head, length, first.line_end, ended=ended)
    if length is None:
        return Opening(len(head), first.line_end) if ended else None
    return Opening(length, first.line_end)


def _length(head: bytes, lines: int, line_end: bytes) -> int | None:
    """How many bytes so many lines have; None: there are fewer, or the last one does not end."""
    *there, _ = head.split(line_end, lines)
    return None if len(there) < lines else sum(map(len, there)) + lines * len(line_end)


def _behind_header(head: bytes, begin: int, line_end: bytes, *, ended: bool) -> int | None:
    """Where the header ends that begins there, as lines of the file do; None: it does not end."""
    at = _end(_CSV_LINES[line_end], head, begin)
    if head[at : at + 1] == b'"' and ended:  # left open
        at = head.find(line_end, begin)
    return at + 1 if head[at : at + 1] == line_end else None


def _first_csv_line(head: bytes, *, ended: bool) -> Opening | None:
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


def _end(pattern: re.Pattern[bytes], head: bytes, begin: int = 0) -> int:
    found = pattern.match(head, begin)
    assert found is not None  # noqa: S101 - both match an empty line
    return found.end()
