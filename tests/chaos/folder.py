"""Files dropped in a folder, of every format in turn: whole, under their names at once."""

import hashlib
import io
import time
from pathlib import Path
from typing import ClassVar

import polars as pl

from tests.chaos.publisher import Publisher
from tests.chaos.readings import HEADER, PER_FILE, Format, Reading, Readings

ENDINGS = {Format.CSV: "csv", Format.JSON: "ndjson", Format.PARQUET: "parquet"}
ROW_GROUP = 60  # rows
SCHEMA = {
    "device_id": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
    "temperature": pl.Float64(),
    "n": pl.Int64(),
}


class Folder(Publisher):
    """A file of `PER_FILE` readings now and then; it is acknowledged by being there."""

    tick: ClassVar[float] = 0.2

    def __init__(self, root: Path, readings: Readings, rate: int) -> None:
        super().__init__(readings, rate)
        self.inbox, self.archive = root / "sensors", root / "sensors-archive"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.digests: dict[str, str] = {}  # name → SHA-256 of what was dropped
        self._due = 0

    def open(self) -> None: ...

    def close(self) -> None: ...

    def waiting(self) -> int:
        return 0

    def burst(self, count: int) -> None:
        self._due += count
        while self._due >= PER_FILE:
            self._due -= PER_FILE
            self._drop(range(self.next, self.next + PER_FILE))
            self.next += PER_FILE

    def _drop(self, numbers: range) -> None:
        text_format = self.readings.format(numbers[0])
        content = _content(text_format, [self.readings.reading(number) for number in numbers])
        name = f"{numbers[0]}.{ENDINGS[text_format]}"
        draft = self.inbox / f".{name}"
        draft.write_bytes(content)
        draft.rename(self.inbox / name)
        self.digests[name] = hashlib.sha256(content).hexdigest()
        self.acknowledged.update(dict.fromkeys(numbers, time.time()))

    def left(self) -> int:
        """How many files are not archived yet."""
        return sum(1 for _ in self.inbox.iterdir())

    def missing(self) -> int:
        """How many files are not in the archive as they were dropped."""
        archived = {path.name: path.read_bytes() for path in self.archive.glob("*")}
        found = {name: hashlib.sha256(content).hexdigest() for name, content in archived.items()}
        return len(self.digests.items() - found.items())


def _content(text_format: Format, readings: list[Reading]) -> bytes:
    if text_format is not Format.PARQUET:
        header = [HEADER.encode()] if text_format is Format.CSV else []
        return b"".join(line + b"\n" for line in [*header, *(reading.payload for reading in readings)])
    rows = [(*reading.values, reading.number) for reading in readings]
    buffer = io.BytesIO()
    pl.DataFrame(rows, SCHEMA, orient="row").write_parquet(buffer, row_group_size=ROW_GROUP)
    return buffer.getvalue()
