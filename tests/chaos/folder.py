"""Files dropped in a folder, of every format in turn; `uploads.py` and `poison.py` drop odd ones."""

import hashlib
import io
import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import polars as pl

from tests.chaos.publisher import Publisher
from tests.chaos.readings import HEADER, PER_FILE, Format, Reading, Readings, draft_of

ENDINGS = {Format.CSV: "csv", Format.JSON: "ndjson", Format.PARQUET: "parquet"}
ROW_GROUP = 60  # rows
PIECE = re.compile(r"\.[0-9a-f]{12}(\.\d+)?(?=\.\w+$)")  # put into a name that was in the archive already
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
        self.final: set[str] = set()  # SHA-256 of what is to be in the archive in the end
        self.in_two: list[tuple[str, str, str]] = []  # of the whole and of both halves: it, or they
        self.versions: dict[str, bytes] = {}  # SHA-256 → every content that could be read
        self.drafts: list[Reading] = []  # that may be stored, and need not be
        self.poison: set[str] = set()  # names of files each of which is one rejected record
        self.untaken: set[str] = set()  # names that stay in the folder, and are told
        self._due = 0
        self._numbers = threading.Lock()
        self._again: set[str] = set()  # names that are put back from the archive

    def open(self) -> None: ...

    def close(self) -> None: ...

    def waiting(self) -> int:
        return len(self._again)

    def burst(self, count: int) -> None:
        self._put_back()
        self._due += count
        while self._due >= PER_FILE:
            self._due -= PER_FILE
            with self._numbers:
                self._drop_next()

    def claim(self, *formats: Format) -> range:
        """The numbers of the next file of one of these formats; files of others before it are dropped."""
        with self._numbers:
            while self.readings.format(self.next) not in formats:
                self._drop_next()
            return self._take()

    def _take(self) -> range:
        numbers = range(self.next, self.next + PER_FILE)
        self.next += PER_FILE
        return numbers

    def _drop_next(self) -> None:
        numbers = self._take()
        self.drop(self.name_of(numbers), self.content(numbers))
        self.acknowledge(numbers)

    def name_of(self, numbers: range) -> str:
        return f"{numbers[0]}.{ENDINGS[self.readings.format(numbers[0])]}"

    def content(self, numbers: range) -> bytes:
        return _content(self.readings.format(numbers[0]), self._readings_of(numbers))

    def draft(self, numbers: range) -> bytes:
        """What is to be edited to be `content`; its rows may be stored from now on."""
        drafts = [draft_of(reading) for reading in self._readings_of(numbers)]
        self.drafts += drafts
        return _content(self.readings.format(numbers[0]), drafts)

    def _readings_of(self, numbers: range) -> list[Reading]:
        return [self.readings.reading(number) for number in numbers]

    def drop(self, name: str, content: bytes) -> None:
        """Whole, under its name at once; it is to be in the archive."""
        self.finish_as(content)
        draft = self.inbox / f".{name}"
        draft.write_bytes(content)
        draft.rename(self.inbox / name)

    def finish_as(self, content: bytes) -> None:
        """Some file is to be in the archive with this content in the end."""
        self.final.add(self.may_be(content))

    def may_be(self, content: bytes) -> str:
        """Some file has this content for a while; its SHA-256."""
        digest = hashlib.sha256(content).hexdigest()
        self.versions[digest] = content
        return digest

    def acknowledge(self, numbers: Iterable[int]) -> None:
        self.acknowledged.update(dict.fromkeys(numbers, time.time()))

    def again_since(self, moment: float) -> None:
        """Put back what was archived since (seconds since 1970 UTC); what lies there, once it is archived.

        A listener may have read some of it already, and archive it for what it believes to be stored.
        """
        moved = {path.name for path in self.archive.glob("*") if path.lstat().st_ctime >= moment}
        self._again |= moved | {path.name for path in self._files_left()}

    def _put_back(self) -> None:
        """Each under the name that it was dropped by, one after the other where that is the same."""
        for name in sorted(self._again):
            first = self.inbox / PIECE.sub("", name)
            if (self.archive / name).exists() and not first.exists():
                (self.archive / name).rename(first)
                self._again.discard(name)

    def left(self) -> int:
        """How many files are not archived yet."""
        return sum(1 for _ in self._files_left())

    def _files_left(self) -> list[Path]:
        return [path for path in self.inbox.iterdir() if path.name not in self.untaken]

    def missing(self) -> int:
        """How many files are not in the archive as they were in the end."""
        there = {hashlib.sha256(path.read_bytes()).hexdigest() for path in self.archive.glob("*")}
        in_two = sum(not (whole in there or {*halves} <= there) for whole, *halves in self.in_two)
        return len(self.final - there) + in_two


def _content(text_format: Format, readings: list[Reading]) -> bytes:
    if text_format is not Format.PARQUET:
        header = [HEADER.encode()] if text_format is Format.CSV else []
        return b"".join(line + b"\n" for line in [*header, *(reading.payload for reading in readings)])
    rows = [(*reading.values, reading.number) for reading in readings]
    buffer = io.BytesIO()
    pl.DataFrame(rows, SCHEMA, orient="row").write_parquet(buffer, row_group_size=ROW_GROUP)
    return buffer.getvalue()
