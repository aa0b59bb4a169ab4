"""A Parquet file in rows of its row groups; rows that cannot be read are given as the bytes they stand in."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from tasks.batch import MESSAGE_SCHEMA
from tasks.extract.cuts import Cut, Part, Survey

log = structlog.get_logger(__name__)

UNREADABLE: Final = (OSError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What Arrow and Polars raise for bad pages and types they do not know; OSError also if the file is gone."""


def _opened(path: Path) -> pq.ParquetFile:
    """Times of 96 bits are read in µs: in ns, as Arrow does it, those beyond 1677 … 2262 are wrong."""
    return pq.ParquetFile(path, coerce_int96_timestamp_unit="us")


def row_cuts(path: Path, max_rows: int) -> list[Cut] | None:
    """Cuts at rows of row groups; None: the file is not Parquet."""
    try:
        with _opened(path) as file:
            heights = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    except UNREADABLE as error:
        _raise_if_system(error)
        return None
    cuts, line = [], 1
    for group, height in enumerate(heights):
        for first in range(0, height, max_rows):
            cuts.append(Cut(first, min(first + max_rows, height), line + first, group))
        line += height
    return cuts


def row_parts(found: Survey, wanted: set[Cut]) -> Iterator[Part]:
    """The wanted parts; of a row group only as much is in memory as one part needs."""
    largest = max(cut.end - cut.first for cut in found.cuts)
    groups = sorted({cut.group for cut in wanted if cut.group is not None})
    with _opened(found.path) as file:
        for group in groups:
            yield from _parts_of_group(found, file, group, largest, wanted)


def _parts_of_group(
    found: Survey, file: pq.ParquetFile, group: int, largest: int, wanted: set[Cut]
) -> Iterator[Part]:
    cuts = [cut for cut in found.cuts if cut.group == group]
    batches = file.iter_batches(batch_size=largest, row_groups=[group])
    for number, cut in enumerate(cuts):
        try:
            rows = _frame(next(batches, None), cut)
            part = Part(cut, row_messages(found, cut, rows)) if cut in wanted else None
        except UNREADABLE as error:
            _raise_if_system(error)
            log.warning("rows not read, kept as bytes", path=found.name, row=cut.line, reason=str(error))
            yield from (part for part in _as_bytes(found, file, group, cuts[number:]) if part.cut in wanted)
            return
        if part:
            yield part


def _frame(rows: pa.RecordBatch | None, cut: Cut) -> pl.DataFrame:
    if rows is None or rows.num_rows != cut.end - cut.first:
        raise pa.ArrowInvalid("the row group holds other rows than the footer says")
    return pl.DataFrame(pl.from_arrow(pa.Table.from_batches([rows])))


def _as_bytes(found: Survey, file: pq.ParquetFile, group: int, cuts: Sequence[Cut]) -> Iterator[Part]:
    """The bytes of a row group, shared out among the cuts that could not be read."""
    first, end = _span(file, group, size=found.path.stat().st_size)
    edges = [first + (end - first) * number // len(cuts) for number in range(len(cuts) + 1)]
    with found.path.open("rb") as raw:
        raw.seek(first)
        for number, cut in enumerate(cuts):
            yield Part(
                cut, _message(found, cut, raw.read(edges[number + 1] - edges[number])), unreadable=True
            )


def _span(file: pq.ParquetFile, group: int, *, size: int) -> tuple[int, int]:
    """Where the pages of a row group stand: first ≤ byte < end; the footer may be wrong about it."""
    held = file.metadata.row_group(group)
    columns = [held.column(number) for number in range(held.num_columns)]
    spans = [
        (begin, begin + column.total_compressed_size)
        for column in columns
        for begin in [column.dictionary_page_offset or column.data_page_offset]
    ]
    first = min(max(0, min((begin for begin, _ in spans), default=0)), size)
    return first, min(max(first, max((end for _, end in spans), default=0)), size)


def row_messages(found: Survey, cut: Cut, rows: pl.DataFrame) -> pl.DataFrame:
    """The message of a part: its rows as an Arrow IPC file."""
    buffer = BytesIO()
    rows.write_ipc(buffer)
    return _message(found, cut, buffer.getvalue())


def _message(found: Survey, cut: Cut, payload: bytes) -> pl.DataFrame:
    return pl.DataFrame([(f"{found.name}:{cut.line}", payload)], MESSAGE_SCHEMA, orient="row")


def halved_rows(found: Survey, part: Part) -> tuple[Part, Part] | None:
    """A part in two; None when it is one row, or bytes that are no rows."""
    cut = part.cut
    if part.unreadable or cut.end - cut.first < 2:
        return None
    rows = pl.read_ipc(BytesIO(part.messages["payload"][-1]))
    middle = rows.height // 2
    first = Cut(cut.first, cut.first + middle, cut.line, cut.group)
    second = Cut(cut.first + middle, cut.end, cut.line + middle, cut.group)
    return (
        Part(first, row_messages(found, first, rows[:middle])),
        Part(second, row_messages(found, second, rows[middle:])),
    )


def _raise_if_system(error: BaseException) -> None:
    """Raise what is not the file's content's fault: only such an error has a number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
