"""Files in: dropped in a folder, read part by part, archived once every part is committed.

    folder/x.csv ─survey─▶ hash and cuts ─parts─▶ a batch for each ─all committed─▶ archive/x.csv

A part is the same each time it is read, so after a crash the ledger tells which were committed. What may be
done with a file next is decided in `file_life.py`. Whatever one file does, the others go on: what fails is
told, and tried again after a pause that grows.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

import polars as pl
import structlog

from tasks.batch import Position, RawBatch
from tasks.extract.archive import move
from tasks.extract.archived import ArchiveWatch
from tasks.extract.content import ChangedError
from tasks.extract.cuts import Part
from tasks.extract.file_life import Life
from tasks.extract.file_parts import parts
from tasks.extract.files import FileSource
from tasks.extract.folder import Entry, look, shown
from tasks.extract.locked import LockedError
from tasks.extract.taken import Opened, Taken
from tasks.extract.teller import Tell, Teller, nobody

log = structlog.get_logger(__name__)

Uncommitted = Callable[[Sequence[Position]], Awaitable[Sequence[bool]]]
"""Tells of each position whether it is still to be committed."""

_ANY_FAILURE: Final = (Exception, pl.exceptions.PanicException)


class FileWatch:
    """Looks into the folder again and again; one per listener."""

    def __init__(self, source: FileSource, uncommitted: Uncommitted, tell: Tell = nobody) -> None:
        self._source = source
        self._uncommitted, self._teller = uncommitted, Teller(tell)
        self._lives: dict[str, Life] = {}  # by name below the folder; changed by the loop's thread alone
        self._taken: dict[str, Taken] = {}  # the same
        self._aside: Mapping[str, str] = {}  # why the folder's other files are none of ours
        self._archiving = asyncio.Lock()
        self._archived = ArchiveWatch(source)

    @property
    def not_taken(self) -> Mapping[str, str]:
        """What lies in the folder and is not taken: its name, and why."""
        return {**self._aside, **{shown(name): life.why for name, life in self._lives.items() if life.why}}

    async def batches(self) -> AsyncGenerator[RawBatch, None]:
        """Parts of files, without end; the oldest file first."""
        log.info("looking for files", folder=str(self._source.inbox), pattern=self._source.pattern)
        try:
            while True:
                await self._look()
                for name in [name for name in self._taken if self._lives[name].may_be_archived(_now())]:
                    await self._archive(name)  # it could not be moved before
                for name in self._due():
                    async for batch in self._batches_of(name):
                        yield batch
                await asyncio.sleep(self._source.poll.total_seconds())
        finally:
            for taken in self._taken.values():
                taken.opened.close()

    async def _look(self) -> None:
        """See what is there, and tell of what is not taken."""
        entries = await asyncio.to_thread(self._entries)
        now, lives = _now(), dict[str, Life]()
        for entry in entries:
            if entry.mark is not None and not entry.why and entry.name not in self._taken:
                known = self._lives.get(entry.name) or Life(entry.mark, now)
                lives[entry.name] = known.seen(entry.mark, now)
        self._lives = lives | {name: self._lives[name] for name in self._taken}
        await self._archived.look(now)
        self._aside = {shown(entry.name): entry.why for entry in entries if entry.why}
        await self._teller.tell(self.not_taken)

    def _entries(self) -> list[Entry]:
        source = self._source
        try:
            return list(look(source.inbox, source.wanted, source.archived))
        except OSError as error:
            return [Entry(".", why=f"the folder cannot be read: {error.strerror}")]

    def _due(self) -> list[str]:
        """The files to open, the oldest first."""
        now, quiet = _now(), self._source.quiet
        due = [name for name, life in self._lives.items() if life.is_due(now, quiet)]
        return sorted(due, key=lambda name: (self._lives[name].mark.mtime_ns, name))

    async def _batches_of(self, name: str) -> AsyncGenerator[RawBatch, None]:
        """The parts of one file that are not committed yet; none while it must not be read."""
        taken = await self._take(name)
        if taken is None:
            return
        found = taken.found
        todo = await self._uncommitted([taken.position(cut) for cut in found.cuts])
        wanted = [cut for cut, is_left in zip(found.cuts, todo, strict=True) if is_left]
        log.info("file taken", path=found.name, parts=len(found.cuts), left=len(wanted))
        self._lives[name] = self._lives[name].taken(len(wanted))
        reading = parts(found, wanted, self._source.limits.max_part)
        began = datetime.now(UTC)
        while part := await self._next(name, taken, reading):
            yield taken.batch(part, (began, datetime.now(UTC)), self._acknowledge(name, taken))
            began = datetime.now(UTC)
        if not wanted:
            await self._archive(name)

    async def _take(self, name: str) -> Taken | None:
        """Open a file and read it once, unless it must not be read yet."""
        try:
            taken = await asyncio.to_thread(self._surveyed, name, self._lives[name], _now())
        except LockedError:
            return None
        except ChangedError as error:
            self._let_go(name, str(error))
            return None
        except FileNotFoundError:
            self._let_go(name, "it is gone")
            return None
        except _ANY_FAILURE as error:
            self._failed(name, error)
            return None
        if isinstance(taken, str):
            self._lives[name] = self._lives[name].waits(taken)
            return None
        self._taken[name] = taken
        return taken

    def _surveyed(self, name: str, life: Life, now: float) -> Taken | str:
        with ExitStack() as stack:
            opened = Opened(self._source, name, life.mark)
            stack.callback(opened.close)
            if why := life.why_not_yet(opened.ending(), now, self._source.quiet):
                return why
            taken = Taken(opened, opened.surveyed())
            stack.pop_all()
            return taken

    async def _next(self, name: str, taken: Taken, reading: Iterator[Part]) -> Part | None:
        """The next part of a file; None: there is no more, or the file is let go."""
        try:
            part = await asyncio.to_thread(next, reading, None)
        except ChangedError as error:
            self._let_go(name, str(error))
            return None
        except _ANY_FAILURE as error:
            self._failed(name, error)
            return None
        if part and not taken.is_unchanged(self._lives[name].mark):
            self._let_go(name, "it changed while it was read")
            return None
        return part

    def _acknowledge(self, name: str, taken: Taken) -> Callable[[], Awaitable[None]]:
        async def acknowledge() -> None:
            if self._taken.get(name) is taken:  # else it was let go
                self._lives[name] = self._lives[name].committed()
                await self._archive(name)

        return acknowledge

    def _let_go(self, name: str, reason: str) -> None:
        """Forget a file: it is begun again once it has settled; what was committed of it stays."""
        log.warning("file let go", path=shown(name), reason=reason)
        self._forget(name)
        self._lives.pop(name, None)

    def _failed(self, name: str, error: BaseException) -> None:
        """Set a file aside for a while."""
        why = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
        if self._lives[name].why != why:  # said once
            log.warning("file not read, tried again", path=shown(name), reason=why)
        self._forget(name)
        self._lives[name] = self._lives[name].failed(why, _now())

    def _forget(self, name: str) -> None:
        if taken := self._taken.pop(name, None):
            taken.opened.close()

    async def _archive(self, name: str) -> None:
        """Move a file whose parts are all committed, unless it is another one; retried at later looks."""
        async with self._archiving:
            taken, life = self._taken.get(name), self._lives.get(name)
            if taken is None or life is None or not life.may_be_archived(_now()):
                return
            opened, found = taken.opened, taken.found
            if why := life.why_not_the_same(opened.there(), opened.ending()):
                if life.mark == opened.there():
                    self._lives[name] = life.failed(f"stored, and not archived: {why}", _now())
                else:
                    self._let_go(name, why)
                return
            try:
                target = await asyncio.to_thread(
                    move, self._source.inbox, name, found.sha256, self._source.archived
                )
            except OSError as error:
                if not life.why:  # said once
                    log.warning("file not archived, tried again", path=found.name, reason=str(error))
                self._lives[name] = life.failed(f"stored, and not archived: {error.strerror}", _now())
                return
            self._archived.add(target, name, found.sha256, life.mark, _now())
            self._forget(name)
            self._lives.pop(name)
        log.info("file archived", path=found.name, archive=shown(target))
        if not found.holds_records:
            log.warning("the archived file held no records", path=found.name)


def _now() -> float:
    return asyncio.get_running_loop().time()
