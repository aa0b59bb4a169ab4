"""Rows of a table, of CSV or of Parquet, to typed cells by their column names.

* A CSV record is as RFC 4180 says, with the header's number of cells; an empty cell is a missing value.
* A number has a point, maybe a sign and an exponent, and no spaces; `true` and `false` are truth values. A
  timestamp of digits alone is seconds or milliseconds, as in JSON.
* Parquet's columns have types already: what has another one breaks `NAME.type`, a time without a zone
  breaks `NAME.zone`.

A cell that cannot be read is a fault of its record alone, and a line that cannot be read rejects that line.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import orjson
import polars as pl

from tasks.batch import Layout
from tasks.contract import Column, ColumnType, Contract
from tasks.layout import records_in
from tasks.transform import cells
from tasks.transform.decode import UNDECODABLE, Decoded, complete, texts_of, unread
from tasks.transform.header import fault_of, names_of, our_names

_WHOLE: Final = float(1 << 53)
_NUMBER: Final = r"^[+-]?[0-9]+(?:\.[0-9]+)?$"


def decode_csv(header: bytes, chunk: bytes, layout: Layout, contract: Contract) -> Decoded:
    """Records of CSV under their header."""
    names, ours = names_of(header, layout.delimiter), our_names(layout, contract)
    if fault := fault_of(names, ours):
        return unread(fault.rule, fault.sentence, contract)
    columns = [ours.get(name) for name in names]
    by_line_feed = chunk if layout.line_end == "\n" else chunk.replace(layout.line_end.encode(), b"\n")
    plain = _plain(by_line_feed, columns, layout.delimiter, contract)
    if plain is not None:
        return Decoded(plain, UNDECODABLE.to_frame())
    records = pl.Series("payload", records_in(chunk, layout).payloads, dtype=pl.Binary)
    return _with_care(records, columns, layout.delimiter, contract)


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
    numbers = {column.name for column in contract.inputs if column.type is ColumnType.FLOAT}
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
    undecodable = read.filter(pl.col("rule").is_not_null()).select(UNDECODABLE.names())
    good = read.filter(pl.col("rule").is_null())
    if good.is_empty():
        return Decoded(cells.schema(contract).to_frame(), undecodable)
    rows = _read("\n".join(good["text"]).encode(), columns, delimiter)
    rows = rows.with_columns(pl.when(pl.all() != "").then(pl.all()))  # an empty cell in quotes
    return Decoded(_typed(good.select(cells.SEQUENCE).hstack(rows), contract), undecodable)


def _typed(found: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Cells of columns of text, and of numbers that are all finite."""
    columns: list[pl.Expr] = []
    for column in contract.inputs:
        dtype = found.schema.get(column.name)
        if dtype is not None:
            value = pl.col(column.name)
            columns += _CELLS[column.type](value, column.name) if dtype == pl.String else [value]
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
    for column in contract.inputs:
        if column.name in of:
            columns += _cells_of(column, pl.col(of[column.name]), rows.schema[of[column.name]])
    numbered = rows.with_row_index(cells.SEQUENCE)
    found = numbered.select(pl.col(cells.SEQUENCE).cast(pl.Int32), *columns)
    return Decoded(complete(found, contract), UNDECODABLE.to_frame())


def _cells_of(column: Column, value: pl.Expr, dtype: pl.DataType) -> list[pl.Expr]:
    """Cells of a column that has a type."""
    name, kind = column.name, column.type
    if isinstance(dtype, pl.Categorical | pl.Enum):
        value, dtype = value.cast(pl.String), pl.String()
    if dtype == pl.String and kind in (ColumnType.TEXT, ColumnType.TIMESTAMP, ColumnType.JSON):
        return _CELLS[kind](value, name)
    if isinstance(dtype, pl.Datetime) and kind is ColumnType.TIMESTAMP:
        if dtype.time_zone is None:
            return _unread(value, name, "zone")
        return [value.dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(name)]
    if dtype.is_numeric() and kind is ColumnType.TIMESTAMP:
        return [pl.lit(None, pl.String).alias(name), value.cast(pl.Float64).alias(cells.epoch(name))]
    if dtype.is_numeric() and kind in (ColumnType.FLOAT, ColumnType.INTEGER):
        return _CELLS[kind](value, name)
    if dtype == pl.Boolean and kind is ColumnType.BOOLEAN:
        return [value.alias(name)]
    return _unread(value, name, "type")


def _unread(value: pl.Expr, name: str, kind: str) -> list[pl.Expr]:
    """No cell, and a fault wherever there is a value."""
    return [pl.lit(None).alias(name), _fault(name, kind, value.is_not_null())]


def _fault(name: str, kind: str, broken: pl.Expr) -> pl.Expr:
    return pl.when(broken).then(pl.lit(f"{name}.{kind}")).alias(cells.fault(name))


def _text(value: pl.Expr, name: str) -> list[pl.Expr]:
    return [value.alias(name)]


def _float(value: pl.Expr, name: str) -> list[pl.Expr]:
    number = value.cast(pl.Float64, strict=False)
    unread = pl.when(number.is_null() & value.is_not_null()).then(pl.lit(f"{name}.type"))
    endless = unread.when(~number.is_finite()).then(pl.lit(f"{name}.finite"))
    return [pl.when(number.is_finite()).then(number).alias(name), endless.alias(cells.fault(name))]


def _integer(value: pl.Expr, name: str) -> list[pl.Expr]:
    number, decimal = value.cast(pl.Int64, strict=False), value.cast(pl.Float64, strict=False)
    whole = pl.when(decimal.abs() <= _WHOLE).then(decimal).cast(pl.Int64, strict=False)
    found = pl.coalesce(pl.when(decimal == decimal.floor()).then(pl.coalesce(number, whole)))
    large = value.is_not_null() & (decimal == decimal.floor()) & decimal.is_finite()
    kind = pl.when(large).then(pl.lit(f"{name}.range")).otherwise(pl.lit(f"{name}.type"))
    fault = pl.when(found.is_null() & value.is_not_null()).then(kind)
    return [found.alias(name), fault.alias(cells.fault(name))]


def _truth(value: pl.Expr, name: str) -> list[pl.Expr]:
    known = value.is_in(["true", "false"])
    return [pl.when(known).then(value == "true").alias(name), _fault(name, "type", ~known)]


def _time(value: pl.Expr, name: str) -> list[pl.Expr]:
    digits = value.str.contains(_NUMBER)
    epoch = pl.when(digits).then(value).cast(pl.Float64, strict=False)
    return [pl.when(~digits).then(value).alias(name), epoch.alias(cells.epoch(name))]


def _json(value: pl.Expr, name: str) -> list[pl.Expr]:
    canonical = value.map_elements(_canonical_json, return_dtype=pl.String)
    return [canonical.alias(name), _fault(name, "json", value.is_not_null() & canonical.is_null())]


def _canonical_json(text: str) -> str | None:
    """The text that the strict reader would keep; None where it is no JSON or holds a NUL."""
    try:
        written = orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, TypeError):
        return None
    return None if "\\u0000" in written else written


_CELLS: Final[Mapping[ColumnType, Callable[[pl.Expr, str], list[pl.Expr]]]] = {
    ColumnType.TEXT: _text,
    ColumnType.FLOAT: _float,
    ColumnType.INTEGER: _integer,
    ColumnType.BOOLEAN: _truth,
    ColumnType.TIMESTAMP: _time,
    ColumnType.JSON: _json,
}
