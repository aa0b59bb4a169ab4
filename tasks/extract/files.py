"""Files in: dropped in a folder, read part by part, archived once every part is committed.

    folder/x.csv ─survey─▶ hash and cuts ─parts─▶ a batch for each ─all committed─▶ archive/x.csv

A part is the same each time it is read, so after a crash the ledger tells which were committed. A file is
taken when it has not changed for `settle`, is locked while it is read, and is begun again if it changes
after all. Better: write it under a name that begins with a dot or ends in `.part` or `.tmp`, then rename it.
"""

import asyncio
import fcntl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import structlog
from pydantic import Field

from lineage import naming
from tasks.batch import Layout, Position, RawBatch
from tasks.contract import Frozen
from tasks.extract.cuts import Cut, Part, Survey, is_unchanged
from tasks.extract.file_parts import halved, parts, survey
from tasks.extract.folder import FORMATS, move, states
from tasks.extract.row_parts import UNREADABLE

log = structlog.get_logger(__name__)

Uncommitted = Callable[[Sequence[Position]], Awaitable[Sequence[bool]]]
"""Tells of each position whether it is still to be committed."""


class FileOptions(Frozen):
    """What a pipeline says of its files. `folder` and `archive` are below the directory of the settings."""

    type: Literal["files"] = "files"
    folder: str = Field(min_length=1)
    pattern: str = Field(min_length=1)  # as Path.glob takes it, e.g. **/*.csv
    archive: str = Field(min_length=1)  # on the same file system: a file is moved by renaming it
    delimiter: str = Field(default=",", min_length=1, max_length=1)  # of CSV
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="A file's column → the table's, where they differ, e.g. {Sensor: device_id}",
    )
    max_bytes: int = Field(default=8 * 1024 * 1024, ge=1)  # of CSV or NDJSON in a batch
    max_rows: int = Field(default=100_000, ge=1)  # of Parquet in a batch
    settle: Annotated[timedelta, Field(ge=timedelta(0))] = timedelta(seconds=1)
    poll: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(milliseconds=500)
    connections: int = Field(default=1, ge=1, le=8)  # how many batches are written at a time

    @property
    def dataset(self) -> str:
        """Its name: the pattern that finds the files."""
        return naming.file(f"{self.folder}/{self.pattern}")

    def datasets(self, _robots: Sequence[str]) -> Sequence[str]:
        """What this source gives, as URIs."""
        return (self.dataset,)

    def gives(self, dataset: str) -> bool:
        """Whether the dataset (a URI) is this source's."""
        return dataset == self.dataset


class FileSource(FileOptions):
    """Files and where their folders are."""

    root: Path

    @property
    def inbox(self) -> Path:
        return self.root / self.folder

    @property
    def archived(self) -> Path:
        return self.root / self.archive


_Span = tuple[datetime, datetime]
"""When a part began to be read, and when it was."""


@dataclass(slots=True)
class _Taken:
    """A file that is read: locked until it is archived, or let go."""

    found: Survey
    lock: BinaryIO
    left: int  # parts to commit
    not_archived: str = ""  # why, when it should have been

    def close(self) -> None:
        self.lock.close()


class FileWatch:
    """Looks into the folder again and again; one per listener."""

    def __init__(self, source: FileSource, uncommitted: Uncommitted) -> None:
        self._source = source
        self._uncommitted = uncommitted
        self._seen: dict[Path, tuple[tuple[int, int, int], float]] = {}  # state, and since when (loop's time)
        self._taken: dict[Path, _Taken] = {}  # changed by the event loop's thread alone
        self._not_read: dict[Path, str] = {}  # why, of a file that cannot be read
        self._archiving = asyncio.Lock()

    async def batches(self) -> AsyncGenerator[RawBatch, None]:
        """Parts of files, without end; the oldest file first."""
        log.info("looking for files", folder=str(self._source.inbox), pattern=self._source.pattern)
        try:
            while True:
                for taken in [taken for taken in self._taken.values() if not taken.left]:
                    await self._archive(taken)  # it could not be moved before
                for path in await self._settled(asyncio.get_running_loop().time()):
                    async for batch in self._batches_of(path):
                        yield batch
                await asyncio.sleep(self._source.poll.total_seconds())
        finally:
            for taken in self._taken.values():
                taken.close()

    async def _settled(self, now: float) -> list[Path]:
        """The files that did not change for `settle`."""
        source, seen = self._source, {}
        found = await asyncio.to_thread(states, source.inbox, source.pattern, source.archived)
        for path, state in found.items():
            before, since = self._seen.get(path, (None, now))
            seen[path] = (state, since if before == state else now)
        self._seen = seen
        self._not_read = {path: why for path, why in self._not_read.items() if path in seen}
        settle = source.settle.total_seconds()
        ready = [path for path, (_, since) in seen.items() if now - since >= settle]
        return sorted(set(ready) - self._taken.keys(), key=lambda path: (seen[path][0][2], path))

    async def _batches_of(self, path: Path) -> AsyncGenerator[RawBatch, None]:
        """The parts of one file that are not committed yet; none if another listener reads it."""
        try:
            taken = await asyncio.to_thread(self._take, path)
        except OSError as error:
            if self._not_read.get(path) != str(error):  # said once
                log.warning("file not read, tried again", path=str(path), reason=str(error))
            self._not_read[path] = str(error)
            return
        self._not_read.pop(path, None)
        if taken is None:
            return
        found = taken.found
        positions = [self._position(found, cut) for cut in found.cuts]
        todo = await self._uncommitted(positions)
        wanted = [cut for cut, is_left in zip(found.cuts, todo, strict=True) if is_left]
        log.info("file taken", path=found.name, parts=len(found.cuts), left=len(wanted))
        taken.left = len(wanted)
        self._taken[path] = taken
        reading = parts(found, wanted)
        began = datetime.now(UTC)
        while part := await self._next(taken, reading):
            yield self._batch(taken, part, (began, datetime.now(UTC)))
            began = datetime.now(UTC)
        if not wanted:
            await self._archive(taken)

    async def _next(self, taken: _Taken, reading: Iterator[Part]) -> Part | None:
        """The next part of a file; None: there is no more, or the file is let go."""
        path = taken.found.path
        try:
            part = await asyncio.to_thread(next, reading, None)
        except UNREADABLE as error:
            self._let_go(path, str(error))
            return None
        if part and not is_unchanged(taken.found):
            self._let_go(path, "it changed while it was read")
            return None
        return part

    def _take(self, path: Path) -> _Taken | None:
        lock = path.open("rb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            source = self._source
            found = survey(
                path,
                path.relative_to(source.inbox).as_posix(),
                FORMATS[path.suffix],
                max_bytes=source.max_bytes,
                max_rows=source.max_rows,
            )
        except BlockingIOError:
            lock.close()
            return None
        except BaseException:
            lock.close()
            raise
        return _Taken(found, lock, left=0)

    def _batch(self, taken: _Taken, part: Part, read: _Span) -> RawBatch:
        async def acknowledge() -> None:
            taken.left -= 1
            if not taken.left:
                await self._archive(taken)

        return replace(self._of(taken.found, part, read), acknowledge=acknowledge)

    def _of(self, found: Survey, part: Part, read: _Span) -> RawBatch:
        def halve() -> tuple[RawBatch, RawBatch] | None:
            halves = halved(found, part)
            return halves and (self._of(found, halves[0], read), self._of(found, halves[1], read))

        return RawBatch(
            dataset=self._source.dataset,
            messages=part.messages,
            received_at=read[0],
            received_until=read[1],
            position=self._position(found, part.cut),
            layout=Layout(
                format=found.format, delimiter=self._source.delimiter, columns=self._source.columns
            ),
            halve=halve,
        )

    def _position(self, found: Survey, cut: Cut) -> Position:
        group = {} if cut.group is None else {"group": cut.group}
        detail = {"path": found.name, "sha256": found.sha256, "from": cut.first, "to": cut.end, **group}
        return Position(source=self._source.dataset, detail=detail)

    def _let_go(self, path: Path, reason: str) -> None:
        """Forget a file: it is begun again once it has settled; what was committed of it stays."""
        log.warning("file let go", path=str(path), reason=reason)
        self._taken.pop(path).close()
        self._seen.pop(path, None)

    async def _archive(self, taken: _Taken) -> None:
        """Move a file whose parts are all committed, unless it is another one; retried at each look."""
        found = taken.found
        async with self._archiving:
            if self._taken.get(found.path) is not taken:
                return
            if not is_unchanged(found):
                self._let_go(found.path, "it changed after it was read")
                return
            try:
                target = await asyncio.to_thread(move, found, self._source.archived)
            except OSError as error:
                if taken.not_archived != str(error):  # said once
                    log.warning("file not archived, tried again", path=found.name, reason=str(error))
                taken.not_archived = str(error)
                return
            self._taken.pop(found.path).close()
        log.info("file archived", path=found.name, archive=str(target))
