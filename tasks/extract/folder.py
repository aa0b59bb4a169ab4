"""A folder of files: which are there, and how one leaves for the archive."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tasks.batch import Format
from tasks.extract.cuts import Survey, state_of

FORMATS: Final = {
    ".csv": Format.CSV,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".parquet": Format.PARQUET,
}
"""A file's format by the end of its name; any other file stays where it is."""


def states(inbox: Path, pattern: str, archive: Path) -> dict[Path, tuple[int, int, int]]:
    """The files to read and the state of each (`state_of`)."""
    found = {}
    for path in _candidates(inbox, pattern, archive):
        with suppress(OSError):  # gone meanwhile, or not ours to see
            if path.is_file():
                found[path] = state_of(path)
    return found


def _candidates(inbox: Path, pattern: str, archive: Path) -> Iterator[Path]:
    for path in inbox.glob(pattern):
        hidden = any(part.startswith(".") for part in path.relative_to(inbox).parts)
        if path.suffix in FORMATS and not hidden and not path.is_relative_to(archive):
            yield path


def move(found: Survey, archive: Path) -> Path:
    """Rename a file into the archive; where it is now. Raises OSError."""
    target = archive / found.name
    if target.exists():
        target = target.with_name(f"{target.stem}.{found.sha256[:12]}{target.suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)
    return found.path.rename(target)
