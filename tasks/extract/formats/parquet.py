"""Parquet: rows in row groups, which a footer lists."""

from typing import ClassVar, Literal

from tasks.batch import Format
from tasks.extract.formats.format import FileFormat


class ParquetFormat(FileFormat):
    """Rows with types of their own. A file of them does not grow: its footer comes last."""

    kind: ClassVar = Format.PARQUET
    endings: ClassVar = (".parquet",)

    type: Literal["parquet"]
