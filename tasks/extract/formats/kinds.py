"""Every format of files: one file in this folder and one line here."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import Field

from tasks.extract.formats.csv import CsvFormat
from tasks.extract.formats.format import FileFormat
from tasks.extract.formats.ndjson import NdjsonFormat
from tasks.extract.formats.parquet import ParquetFormat

AnyFormat = Annotated[CsvFormat | NdjsonFormat | ParquetFormat, Field(discriminator="type")]

ENDINGS: Final[Mapping[str, FileFormat]] = {
    ending: said
    for said in (CsvFormat(type="csv"), NdjsonFormat(type="ndjson"), ParquetFormat(type="parquet"))
    for ending in said.endings
}
"""A file's format by the end of its name, where its pipeline says none; any other file stays where it is."""


def by_ending(name: str) -> FileFormat | None:
    """The format that a name promises, in small letters or capitals."""
    return ENDINGS.get(PurePosixPath(name).suffix.lower())
