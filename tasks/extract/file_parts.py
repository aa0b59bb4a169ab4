"""One file, cut into parts that are the same each time it is read: how many, where, and their bytes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from tasks.batch import MESSAGE_SCHEMA, Format
from tasks.extract.cuts import Cut, Part, Survey, state_of
from tasks.extract.row_parts import halved_rows, row_cuts, row_parts
from tasks.layout import whole

LONGEST: Final = 64 * 1024 * 1024  # bytes without the end of a record: no text, and cut anyway


def survey(path: Path, name: str, file_format: Format, *, max_bytes: int, max_rows: int) -> Survey:
    """Read a file once, to hash it and to find its cuts."""
    state, digest = state_of(path), hashlib.sha256()
    with path.open("rb") as file:

        def read(size: int) -> bytes:
            data = file.read(size)
            digest.update(data)
            return data

        if file_format is Format.PARQUET:
            header, cuts = b"", _blobs(read, max_bytes)
            rows = row_cuts(path, max_rows)
            cuts = cuts if rows is None else rows
        else:
            header = _header(file) if file_format is Format.CSV else b""
            digest.update(header)
            cuts = list(_line_cuts(read, file_format, len(header), max_bytes))
    return Survey(
        path=path,
        name=name,
        format=file_format,
        state=state,
        sha256=digest.hexdigest(),
        header=header,
        cuts=tuple(cuts),
    )


def _header(file: BinaryIO) -> bytes:
    """The first line; none where lines end by CR alone, so that the file is a record, which is rejected."""
    line = file.readline(LONGEST)
    if b"\r" not in line.rstrip(b"\r\n") or b'"' in line:
        return line
    file.seek(0)
    return b""


def _line_cuts(
    read: Callable[[int], bytes], text_format: Format, begin: int, max_bytes: int
) -> Iterator[Cut]:
    """Cuts at ends of records, each of at most `max_bytes` unless its one record is longer."""
    window, wanted, line = b"", max_bytes, 2 if begin else 1
    while True:
        data = read(wanted - len(window))
        window += data
        if not window:
            return
        ended = len(window) < wanted
        taken = len(window) if ended else whole(window, text_format)
        if not taken and len(window) >= LONGEST:
            taken = len(window)
        if taken:
            yield Cut(begin, begin + taken, line)
            begin, line = begin + taken, line + window.count(b"\n", 0, taken)
            window, wanted = window[taken:], max(max_bytes, len(window) - taken + 1)
        else:
            wanted *= 2


def _blobs(read: Callable[[int], bytes], max_bytes: int) -> list[Cut]:
    """Cuts anywhere; reads to the end."""
    cuts: list[Cut] = []
    begin = 0
    while data := read(max_bytes):
        cuts.append(Cut(begin, begin + len(data), 1))
        begin += len(data)
    return cuts


def parts(found: Survey, wanted: Iterable[Cut]) -> Iterator[Part]:
    """The wanted parts of a file in order."""
    if any(cut.group is not None for cut in found.cuts):
        yield from row_parts(found, set(wanted))
        return
    with found.path.open("rb") as file:
        for cut in wanted:
            file.seek(cut.first)
            messages = text_messages(found, cut, file.read(cut.end - cut.first))
            yield Part(cut, messages, unreadable=found.format is Format.PARQUET)


def text_messages(found: Survey, cut: Cut, chunk: bytes) -> pl.DataFrame:
    """The messages of a part: of CSV its file's header, then its records."""
    rows = [(f"{found.name}:1", found.header)] if found.format is Format.CSV else []
    rows.append((f"{found.name}:{cut.line}", chunk))
    return pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row")


def halved(found: Survey, part: Part) -> tuple[Part, Part] | None:
    """A part in two; None when it is one record."""
    if found.format is Format.PARQUET:
        return halved_rows(found, part)
    chunk = part.messages["payload"][-1]
    middle = whole(chunk[: len(chunk) // 2], found.format) or whole(chunk[:-1], found.format)
    if not middle:
        return None
    line = part.cut.line + chunk.count(b"\n", 0, middle)
    cuts = (
        Cut(part.cut.first, part.cut.first + middle, part.cut.line),
        Cut(part.cut.first + middle, part.cut.end, line),
    )
    return (
        Part(cuts[0], text_messages(found, cuts[0], chunk[:middle])),
        Part(cuts[1], text_messages(found, cuts[1], chunk[middle:])),
    )
