"""Rows of a table, of CSV or of Parquet, to typed cells by their column names.

* A CSV record is as RFC 4180 says, with a cell for each name; an empty cell is a missing value.
* A number has a point, maybe a sign and an exponent, and no spaces; `true` and `false` are truth values. A
  timestamp of digits alone is seconds or milliseconds, as in JSON.
* Parquet's columns have types already: what has another one breaks `NAME.type`, a time without a zone
  breaks `NAME.zone`. A decimal is read from decimals, whole numbers and texts; a double is none.

A cell that cannot be read is a fault of its record alone, and a line that cannot be read rejects that line.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

import polars as pl

from tasks.batch import Layout
from tasks.contract import Column, Contract
from tasks.decode import cells
from tasks.decode.header import fault_of, header_in, names_of, our_names, too_short
from tasks.decode.messages import UNDECODABLE, Decoded, complete, texts_of, unread
from tasks.layout import records_in
from tasks.types.json_number import WHOLE
from tasks.types.type import fault, no_cell

ENCODING: Final = "payload.encoding"


def decode_csv(before: bytes, chunk: bytes, layout: Layout, contract: Contract) -> Decoded:
    """Records of CSV; `before`: what stands before them in their file."""
    if fault := too_short(before, layout):
        return unread(fault.rule, fault.sentence, contract)
    header = header_in(before, layout)
    names, ours = layout.names or names_of(header, layout.delimiter), our_names(layout, contract)
    if fault := fault_of(names, ours):
        if why := _no_text(header):  # which is the matter, and not how a name looks
            return unread(ENCODING, why, contract)
        return unread(fault.rule, fault.sentence, contract)
    columns = [ours.get(name) for name in names]
    by_line_feed = chunk if layout.line_end == "\n" else chunk.replace(layout.line_end.encode(), b"\n")
    plain = _plain(by_line_feed, columns, layout.delimiter, contract)
    if plain is not None:
        return Decoded(plain, UNDECODABLE.to_frame())
    records = pl.Series("payload", records_in(chunk, layout).payloads, dtype=pl.Binary)
    return _with_care(records, columns, layout.delimiter, contract)


def _no_text(header: bytes) -> str:
    """Why a first line is no text of UTF-8; empty: it is."""
    try:
        header.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"the first line is not UTF-8 text ({error.reason}, byte {error.start + 1}): save it as UTF-8"
    return ""


def _plain(
    chunk: bytes, columns: Sequence[str | None], delimiter: str, contract: Contract
) -> pl.DataFrame | None:
    """The cells of a chunk in which nothing needs a closer look, numbers read as such; else None.

    No line has too many cells, or Polars would refuse it; so none has too few when their number is right.
    Blanks before a number are its only liberty that `_float` does not take.
    """
    mark = delimiter.encode()
    ends = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
    if b'"' in chunk or chunk.count(mark) != (len(columns) - 1) * ends:
        return None
    if _cell_begins_blank(chunk, mark):
        return None
    numbers = {c.name for c in contract.recorded if cells.kind_of(c).cell == pl.Float64}
    try:
        rows = _read(chunk, columns, delimiter, numbers)
    except (pl.exceptions.ComputeError, pl.exceptions.SchemaError):
        return None
    finite = all(rows[name].is_finite().all() for name in numbers & set(rows.columns))
    return _typed(rows, contract) if finite and rows.height == ends else None


def _cell_begins_blank(chunk: bytes, mark: bytes) -> bool:
    """Whether a space or a tab stands before a cell; to look for one byte is much faster than for two."""
    return any(
        blank in chunk and (chunk.startswith(blank) or mark + blank in chunk or b"\n" + blank in chunk)
        for blank in (b" ", b"\t")
    )


def _read(
    text: bytes, columns: Sequence[str | None], delimiter: str, numbers: Collection[str] = ()
) -> pl.DataFrame:
    """The columns that are ours, as text or as numbers."""
    schema = {str(at): pl.Float64 if name in numbers else pl.String for at, name in enumerate(columns)}
    rows = pl.read_csv(text, has_header=False, separator=delimiter, schema=schema)
    at = {name: str(number) for number, name in enumerate(columns) if name is not None}
    return rows.select(pl.col(number).alias(name) for name, number in at.items())


def _with_care(
    records: pl.Series, columns: Sequence[str | None], delimiter: str, contract: Contract
) -> Decoded:
    """Each record looked at, so that a bad one is left out alone."""
    mark = re.escape(delimiter)
    cell = rf'(?:"(?:[^"]|"")*"|[^"\r\n{mark}]*)'
    record = rf"^{cell}(?:{mark}{cell}){{{len(columns) - 1}}}\r?$"
    read = pl.DataFrame({"text": texts_of(records)}).with_row_index(cells.SEQUENCE)
    text = pl.col("text")
    rule = pl.when(text.is_null()).then(pl.lit("payload.utf8")).when(~text.str.contains(record))
    read = read.with_columns(pl.col(cells.SEQUENCE).cast(pl.Int32), rule=rule.then(pl.lit("payload.cells")))
    there = text.str.count_matches(delimiter, literal=True) + 1
    counts = pl.format(f"expected {len(columns)} cells, found {{}}", there)
    detail = pl.when((pl.col("rule") == "payload.cells") & (there != len(columns))).then(counts)
    bad = read.filter(pl.col("rule").is_not_null())
    undecodable = bad.select(*UNDECODABLE.names(), detail=detail)
    good = read.filter(pl.col("rule").is_null())
    if good.is_empty():
        return Decoded(cells.schema(contract).to_frame(), undecodable)
    rows = _read("\n".join(good["text"]).encode(), columns, delimiter)
    rows = rows.with_columns(pl.when(pl.all() != "").then(pl.all()))  # an empty cell in quotes
    return Decoded(_typed(good.select(cells.SEQUENCE).hstack(rows), contract), undecodable)


def _typed(found: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Cells of columns of text, and of numbers that are all finite."""
    columns: list[pl.Expr] = []
    for column in contract.recorded:
        dtype = found.schema.get(column.name)
        if dtype is not None:
            value = pl.col(column.name)
            if dtype != pl.String:
                columns.append(value)
                continue
            if words := cells.null_words(column):
                value = pl.when(~value.is_in(words)).then(value)
            columns += cells.kind_of(column).from_text(value, column.name)
    if cells.SEQUENCE not in found.columns:
        found = found.with_row_index(cells.SEQUENCE)
    return complete(found.select(pl.col(cells.SEQUENCE).cast(pl.Int32), *columns), contract)


def decode_rows(rows: pl.DataFrame, layout: Layout, contract: Contract) -> Decoded:
    """Rows of Parquet; a struct's field stands for the path that the contract names."""
    while structs := [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Struct)]:
        rows = rows.unnest(structs, separator=".")
    ours = our_names(layout, contract)
    if fault := fault_of(rows.columns, ours):
        return unread(fault.rule, fault.sentence, contract)
    of = {ours[name]: name for name in rows.columns if name in ours}
    columns: list[pl.Expr] = []
    for column in contract.recorded:
        if column.name in of:
            columns += _cells_of(column, pl.col(of[column.name]), rows.schema[of[column.name]])
    numbered = rows.with_row_index(cells.SEQUENCE)
    found = numbered.select(pl.col(cells.SEQUENCE).cast(pl.Int32), *columns)
    return Decoded(complete(found, contract), UNDECODABLE.to_frame())


def _cells_of(column: Column, value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr]:
    """Cells of a column that has a type."""
    name, kind = column.name, cells.kind_of(column)
    if isinstance(dtype, pl.Categorical | pl.Enum):
        value, dtype = value.cast(pl.String), pl.String()
    if column.map is not None and (dtype == pl.Boolean or dtype.is_numeric()):
        return _written(value, name, dtype)
    found = kind.from_typed(column, value, dtype)
    return no_cell(value, name, "type") if found is None else found


def _written(value: pl.Expr, name: str, dtype: pl.DataType) -> list[pl.Expr]:
    """What a `map` is asked for: `true` and `false`, a whole number without a point."""
    if dtype == pl.Boolean or dtype.is_integer():
        return [value.cast(pl.String).alias(name)]
    number = value.cast(pl.Float64)
    whole = pl.when((number.abs() < WHOLE) & (number == number.floor())).then(number).cast(pl.Int64)
    return [whole.cast(pl.String).alias(name), fault(name, "map", value.is_not_null() & whole.is_null())]
