"""How much a Parquet file is when it is decoded, from its footer and before anything is decoded.

A few bytes can stand for any number of equal values, so what is compressed says nothing.
"""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_WIDTHS: Final = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8}
_LEAST: Final = 1  # byte of a row, whatever its columns


def group_bytes(file: pq.ParquetFile, group: int) -> int:
    """Of a row group: its pages unpacked, or its values where equal ones share a place there."""
    held = file.metadata.row_group(group)
    columns = (
        max(column.total_uncompressed_size, column.num_values * _width(file, number))
        for number in range(held.num_columns)
        for column in [held.column(number)]
    )
    return int(max(sum(columns), held.num_rows * _LEAST))


def largest_column(file: pq.ParquetFile, group: int) -> int:
    """The largest column of a row group with its pages unpacked; no page of it is larger."""
    held = file.metadata.row_group(group)
    return max((held.column(number).total_uncompressed_size for number in range(held.num_columns)), default=0)


def _width(file: pq.ParquetFile, number: int) -> int:
    """Bytes of one value; of a text those of its place, for its letters are in the pages."""
    column = file.schema.column(number)
    if column.physical_type == "FIXED_LEN_BYTE_ARRAY":
        return int(column.length)
    return _WIDTHS.get(column.physical_type, 8)


def texts(schema: pa.Schema) -> list[str]:
    """The columns to be read as places in a dictionary first: equal texts are in memory once then."""
    wanted = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return [field.name for field in schema if any(fits(field.type) for fits in wanted)]


def spelled_out(rows: pa.RecordBatch) -> int:
    """Bytes of the texts of a dictionary once each stands wherever it is meant."""
    more = 0
    for column in rows.columns:
        if isinstance(column, pa.DictionaryArray):
            lengths = pc.binary_length(column.dictionary)
            more += pc.sum(lengths.take(column.indices)).as_py() or 0
    return more
