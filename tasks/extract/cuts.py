"""What stands between a file and its batches: where it is cut, and what each part holds."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tasks.batch import Format


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
    unreadable: bool = False  # bytes of a Parquet file that could not be read as rows: one record


def state_of(path: Path) -> tuple[int, int, int]:
    """What tells that a file is another one or has changed: inode, size, and when it last changed (ns)."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def is_unchanged(found: Survey) -> bool:
    """Whether the file is still there and as it was found."""
    try:
        return state_of(found.path) == found.state
    except OSError:
        return False
