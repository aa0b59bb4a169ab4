"""A Parquet file in rows of its row groups; rows that cannot be read are given as the bytes they stand in."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from tasks.batch import MESSAGE_SCHEMA
from tasks.extract.content import Content, ContentFile
from tasks.extract.cuts import Cut, Limits, Part, Survey
from tasks.extract.parquet_size import group_bytes, largest_column, spelled_out, texts

log = structlog.get_logger(__name__)

UNREADABLE: Final = (OSError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What Arrow and Polars raise for bad pages and types they do not know; OSError also if the file is gone."""
NOT_PARQUET: Final = "the file is not Parquet"
_GIB: Final = 1 << 30


def row_cuts(content: Content, limits: Limits) -> list[Cut] | str:
    """Cuts at rows of row groups; a sentence: why none of the file is decoded."""
    try:
        with pq.ParquetFile(ContentFile(content)) as file:
            groups = range(file.num_row_groups)
            heights = [file.metadata.row_group(group).num_rows for group in groups]
            sizes = [group_bytes(file, group) for group in groups]
    except UNREADABLE as error:
        _raise_if_system(error)
        return NOT_PARQUET
    if sum(sizes) > limits.max_file:
        return (
            f"decoded the file would be {sum(sizes) / _GIB:,.1f} GiB, and {limits.max_file / _GIB:g} GiB are "
            "taken: set max_file_bytes in the pipeline and drop it again"
        )
    cuts, line = [], 1
    for group, height in enumerate(heights):
        step = _rows_of_part(height, sizes[group], limits)
        for first in range(0, height, step):
            cuts.append(Cut(first, min(first + step, height), line + first, group))
        line += height
    return cuts


def _rows_of_part(height: int, size: int, limits: Limits) -> int:
    """So many rows of a group that a part is not larger than it may be; one at least."""
    if size <= limits.max_part:
        return limits.max_rows
    return max(1, min(limits.max_rows, height * limits.max_part // size))


def row_parts(found: Survey, wanted: set[Cut], max_part: int) -> Iterator[Part]:
    """The wanted parts; of a row group only as much is in memory as one part needs."""
    groups = sorted({cut.group for cut in wanted if cut.group is not None})
    with pq.ParquetFile(ContentFile(found.content)) as plain:
        schema = plain.schema_arrow
    with pq.ParquetFile(ContentFile(found.content), read_dictionary=texts(schema)) as file:
        for group in groups:
            yield from _parts_of_group(found, file, group, schema, wanted, max_part)


def _parts_of_group(
    found: Survey, file: pq.ParquetFile, group: int, schema: pa.Schema, wanted: set[Cut], max_part: int
) -> Iterator[Part]:
    cuts = [cut for cut in found.cuts if cut.group == group]
    largest = max(cut.end - cut.first for cut in cuts)
    batches = file.iter_batches(batch_size=largest, row_groups=[group])
    for number, cut in enumerate(cuts):
        try:
            if largest_column(file, group) > max_part:
                raise pa.ArrowInvalid("a column of its row group is larger than a part may be")
            rows = _frame(next(batches, None), cut, schema, max_part)
            part = Part(cut, row_messages(found, cut, rows)) if cut in wanted else None
        except UNREADABLE as error:
            _raise_if_system(error)
            why = f"rows of the file cannot be read: {' '.join(str(error).split())}"
            log.warning("rows not read, kept as bytes", path=found.name, row=cut.line, reason=str(error))
            left = _as_bytes(found, file, group, cuts[number:], why)
            yield from (part for part in left if part.cut in wanted)
            return
        if part:
            yield part


def _frame(rows: pa.RecordBatch | None, cut: Cut, schema: pa.Schema, max_part: int) -> pl.DataFrame:
    if rows is None or rows.num_rows != cut.end - cut.first:
        raise pa.ArrowInvalid("the row group holds other rows than the footer says")
    if spelled_out(rows) > max_part:
        raise pa.ArrowInvalid(f"{rows.num_rows} rows hold more than {max_part} bytes of text when decoded")
    return pl.DataFrame(pl.from_arrow(pa.Table.from_batches([rows]).cast(schema)))


def _as_bytes(
    found: Survey, file: pq.ParquetFile, group: int, cuts: Sequence[Cut], why: str
) -> Iterator[Part]:
    """The bytes of a row group, shared out among the cuts that could not be read."""
    first, end = _span(file, group, size=found.content.size)
    edges = [first + (end - first) * number // len(cuts) for number in range(len(cuts) + 1)]
    for number, cut in enumerate(cuts):
        payload = found.content.read_again(edges[number], edges[number + 1])
        yield Part(cut, _message(found, cut, payload), refused=why)


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
    """A part in two; None when it is one row."""
    cut = part.cut
    if cut.end - cut.first < 2:
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
