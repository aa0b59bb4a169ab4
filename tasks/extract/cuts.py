"""What stands between a file and its batches: where it is cut, and what each part holds."""

from dataclasses import dataclass

import polars as pl

from tasks.extract.content import Content
from tasks.extract.formats.format import FileFormat


@dataclass(frozen=True, slots=True)
class Cut:
    """One part: bytes first ≤ byte < end, or such rows of a row group; `line`: its first one, from 1."""

    first: int
    end: int
    line: int
    group: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a file is one part, and how much of Parquet is decoded at all (bytes)."""

    max_bytes: int  # of text
    max_rows: int  # of Parquet
    max_part: int  # of Parquet, decoded
    max_file: int  # of Parquet, decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a file's first bytes tell of it."""

    name: str  # below its folder, as people read it
    format: FileFormat
    before: bytes = b""  # the lines before the records, kept with each part; no byte order mark alone
    begin: int = 0  # the byte at which its records begin
    line_end: bytes = b"\n"
    refused: str = ""  # why it is not read as its format: its parts are its bytes

    @property
    def first_line(self) -> int:
        """The line at which its records begin, from 1."""
        return self.before.count(self.line_end) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(Text):
    """A file as it was found: what it holds, and where it is cut."""

    content: Content
    sha256: str
    cuts: tuple[Cut, ...]
    holds_records: bool = True  # more than a header and empty lines


@dataclass(frozen=True, slots=True)
class Part:
    """A cut and its messages (MESSAGE_SCHEMA)."""

    cut: Cut
    messages: pl.DataFrame
    refused: str = ""  # why its bytes are not read as rows: they are one record
