"""Records within a message that holds many: where each begins, and its exact bytes.

A record of CSV or NDJSON is a line, which ends as the layout says. A CSV cell in quotes may hold newlines, so
a line with an odd number of quotes goes on to the next such line; if that makes a record longer than
MAX_RECORD, a quote was left open by mistake and the line stands alone. Empty lines are no records. Where a
record ends depends on nothing but the bytes before it, counted from the start of the message.
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import polars as pl

from tasks.batch import Format, Layout, RawBatch

MAX_RECORD: Final = 1 << 20  # bytes of one CSV record over several lines
_QUOTE: Final = b'"'
_BLANK: Final = frozenset({b"", b"\r"})


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one message in order: their bytes, and the line (from 0) that each begins at."""

    payloads: Sequence[bytes]
    lines: Sequence[int]


def records_in(chunk: bytes, layout: Layout) -> Records:
    """The records of a chunk of CSV (without its header) or NDJSON."""
    end = layout.line_end.encode()
    lines = chunk.split(end)
    if layout.format is Format.CSV and _QUOTE in chunk:
        joins = list(_joins(lines, open_ended=False))
        payloads = [end.join(lines[first:last]) for first, last in joins]
        starts: Sequence[int] = [first for first, _ in joins]
    else:
        payloads, starts = lines, range(len(lines))
    if any(blank in payloads for blank in _BLANK):
        kept = [at for at, payload in enumerate(payloads) if payload not in _BLANK]
        payloads, starts = [payloads[at] for at in kept], [starts[at] for at in kept]
    if layout.spaces_are_blank and any(map(bytes.isspace, payloads)):
        kept = [at for at, payload in enumerate(payloads) if not payload.isspace()]
        payloads, starts = [payloads[at] for at in kept], [starts[at] for at in kept]
    return Records(payloads, starts)


def whole(window: bytes, text_format: Format, line_end: bytes = b"\n") -> int:
    """How many bytes of a window, which begins at a record, are whole records; 0: not even one."""
    if text_format is not Format.CSV or _QUOTE not in window:
        return window.rfind(line_end) + 1
    lines = window.split(line_end)
    *_, (last, _) = _joins(lines, open_ended=True)
    return sum(map(len, lines[:last])) + last


def _joins(lines: Sequence[bytes], *, open_ended: bool) -> Iterator[tuple[int, int]]:
    """The lines of each record: first ≤ line < end; `open_ended`: what comes may close a quote."""
    at, end = 0, len(lines)
    odd = deque(number for number, line in enumerate(lines) if line.count(_QUOTE) & 1)
    while odd:
        opening = odd.popleft()
        yield from ((line, line + 1) for line in range(at, opening))
        at = opening + 1
        if odd or open_ended:
            after = odd[0] + 1 if odd else end
            if sum(map(len, lines[opening:after])) <= MAX_RECORD:
                at = after
                if odd:
                    odd.popleft()
        yield opening, at
    yield from ((line, line + 1) for line in range(at, end))


def exact(layout: Layout, location: str, chunk: bytes, parts: Sequence[int]) -> list[tuple[str, bytes]]:
    """Where each of these records stands (`PATH:LINE`, of Parquet `PATH:ROW`, from 1) and its bytes.

    `location` is where the message begins. A row of Parquet has no bytes of its own: it is given as JSON.
    """
    path, _, begin = location.rpartition(":")
    if layout.format is Format.PARQUET:
        rows = pl.read_ipc(BytesIO(chunk), use_pyarrow=False)
        texts = [json.dumps(rows.row(part, named=True), default=str).encode() for part in parts]
        return [(f"{path}:{int(begin) + part}", text) for part, text in zip(parts, texts, strict=True)]
    records = records_in(chunk, layout)
    return [(f"{path}:{int(begin) + records.lines[part]}", records.payloads[part]) for part in parts]


def exact_in(batch: RawBatch, rows: pl.DataFrame) -> pl.DataFrame:
    """`location` and `payload` (n) of rows with `sequence` and `part` (n), of whichever layout."""
    messages = batch.messages[rows["sequence"]]
    if batch.layout is None or rows.is_empty() or rows["part"].has_nulls():
        return messages
    location, chunk = batch.messages.row(-1)
    found = exact(batch.layout, location, chunk, rows["part"].to_list())
    return pl.DataFrame(found, schema=messages.schema, orient="row")
