"""One file, cut into parts that are the same each time it is read: how many, where, and their bytes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.batch import MESSAGE_SCHEMA, Format
from tasks.layout import whole

LONGEST: Final = 64 * 1024 * 1024  # bytes without the end of a record: no text, and cut anyway


@dataclass(frozen=True, slots=True)
class Cut:
    """One part: bytes first ≤ byte < end, or such rows of a row group; `line`: its first one, from 1."""

    first: int
    end: int
    line: int
    group: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A file as it was found: what it holds, and where it is cut."""

    path: Path
    name: str  # below its folder
    format: Format
    state: tuple[int, int, int]
    sha256: str
    header: bytes  # the first line of a CSV file, empty in others
    cuts: tuple[Cut, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A cut and its messages (MESSAGE_SCHEMA)."""

    cut: Cut
    messages: pl.DataFrame


def state_of(path: Path) -> tuple[int, int, int]:
    """What tells that a file is another one or has changed: inode, size, and when it last changed (ns)."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


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
            rows = _row_cuts(path, max_rows)
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
    return file.readline(LONGEST)


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
        taken = len(window) if ended or len(window) >= LONGEST else whole(window, text_format)
        if taken:
            yield Cut(begin, begin + taken, line)
            begin, line = begin + taken, line + window.count(b"\n", 0, taken)
            window, wanted = window[taken:], max(max_bytes, len(window) - taken + 1)
        else:
            wanted *= 2


def _row_cuts(path: Path, max_rows: int) -> list[Cut] | None:
    """Cuts at rows of row groups; None: the file is not Parquet."""
    try:
        with pq.ParquetFile(path) as file:
            heights = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    except (pa.ArrowInvalid, OSError):
        return None
    cuts, line = [], 1
    for group, height in enumerate(heights):
        for first in range(0, height, max_rows):
            cuts.append(Cut(first, min(first + max_rows, height), line + first, group))
        line += height
    return cuts


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
        yield from _row_parts(found, set(wanted))
        return
    with found.path.open("rb") as file:
        for cut in wanted:
            file.seek(cut.first)
            yield Part(cut, text_messages(found, cut, file.read(cut.end - cut.first)))


def text_messages(found: Survey, cut: Cut, chunk: bytes) -> pl.DataFrame:
    """The messages of a part: of CSV its file's header, then its records."""
    rows = [(f"{found.name}:1", found.header)] if found.format is Format.CSV else []
    rows.append((f"{found.name}:{cut.line}", chunk))
    return pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row")


def _row_parts(found: Survey, wanted: set[Cut]) -> Iterator[Part]:
    """Parts of a Parquet file; of a row group only as much is in memory as one part needs."""
    largest = max(cut.end - cut.first for cut in found.cuts)
    groups = sorted({cut.group for cut in wanted if cut.group is not None})
    with pq.ParquetFile(found.path) as file:
        for group in groups:
            cuts = [cut for cut in found.cuts if cut.group == group]
            batches = file.iter_batches(batch_size=largest, row_groups=[group])
            for cut, rows in zip(cuts, batches, strict=True):
                if cut in wanted:
                    frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([rows])))
                    yield Part(cut, row_messages(found, cut, frame))


def row_messages(found: Survey, cut: Cut, rows: pl.DataFrame) -> pl.DataFrame:
    """The message of a part of a Parquet file: its rows as an Arrow IPC file."""
    buffer = BytesIO()
    rows.write_ipc(buffer)
    return pl.DataFrame([(f"{found.name}:{cut.line}", buffer.getvalue())], MESSAGE_SCHEMA, orient="row")


def halved(found: Survey, part: Part) -> tuple[Part, Part] | None:
    """A part in two; None when it is one record."""
    chunk = part.messages["payload"][-1]
    if found.format is Format.PARQUET:
        return None if part.cut.group is None else _halved_rows(found, part.cut, pl.read_ipc(BytesIO(chunk)))
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


def _halved_rows(found: Survey, cut: Cut, rows: pl.DataFrame) -> tuple[Part, Part] | None:
    if rows.height < 2:
        return None
    middle = rows.height // 2
    first = Cut(cut.first, cut.first + middle, cut.line, cut.group)
    second = Cut(cut.first + middle, cut.end, cut.line + middle, cut.group)
    return (
        Part(first, row_messages(found, first, rows[:middle])),
        Part(second, row_messages(found, second, rows[middle:])),
    )
