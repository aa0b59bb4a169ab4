"""Files in, as they grow: whole records are read on from where they were read to, and no file is moved.

    folder/x.csv ─known again by what was read of it─▶ read on ─part─▶ batch ─its commit advances the mark─▶ …

A renamed file is followed under its new name; one whose new name is none of ours, or that is gone, is read to
its end through the open descriptor. One that holds other bytes than were read of it is told, and begun anew.
Whatever one file does, the others go on: what fails is told, and tried again after a pause that grows.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import polars as pl
import structlog

from tasks.batch import RawBatch
from tasks.extract.content import ChangedError
from tasks.extract.file_life import Mark
from tasks.extract.files import FileSource
from tasks.extract.folder import Entry, look, shown
from tasks.extract.formats.parquet import ParquetFormat
from tasks.extract.growing import Candidate, Following, Growing
from tasks.extract.locked import LockedError
from tasks.extract.recognise import recognise
from tasks.extract.set_aside import SetAside
from tasks.extract.teller import Tell, Teller, nobody
from tasks.followed import Followed, FollowedFile

log = structlog.get_logger(__name__)

MOST_OPEN: Final = 256  # files; those that were quiet the longest are opened again when they grow

_ANY_FAILURE: Final = (Exception, pl.exceptions.PanicException)


@dataclass(slots=True)
class _Open:
    """A file that is open, and since when it is as it is (the event loop's seconds)."""

    file: Growing
    mark: Mark
    since: float
    more: bool = True  # whether there may be something to read
    fits: bool = True  # its name is one of ours
    rest: int = 0  # bytes that are no whole record yet

    def seen(self, mark: Mark, now: float) -> bool:
        """Note how it is now; whether it was changed without having grown."""
        changed, same_size = mark != self.mark, mark.size == self.mark.size
        if changed:
            self.mark, self.since, self.more = mark, now, True
        return changed and same_size


class FollowWatch:
    """Looks into the folder again and again; one per listener."""

    def __init__(self, source: FileSource, kept: Followed, tell: Tell = nobody) -> None:
        self._source, self._kept, self._teller = source, kept, Teller(tell)
        self._open: dict[str, _Open] = {}  # by their place (Mark.place)
        self._resting: dict[str, Mark] = {}  # by place: read to their end, and closed
        self._known: dict[str, FollowedFile] = {}  # by place: followed before, and not met yet
        self._locked: set[str] = set()  # places of files that another listener reads, which was said
        self._set_aside = SetAside()
        self._aside: Mapping[str, str] = {}

    @property
    def not_taken(self) -> Mapping[str, str]:
        """What lies in the folder and is not read to its end, or was not: its name, and why."""
        return {**self._aside, **dict(self._rests()), **dict(self._set_aside.told())}

    def _rests(self) -> Iterator[tuple[str, str]]:
        """What stands behind the last whole record of a file for long."""
        now, patience = _now(), self._source.unfinished.total_seconds()
        for each in self._open.values():
            if each.file.name and each.rest and now - each.since >= patience:
                yield shown(each.file.name), f"its last {each.rest:,} bytes are no whole record yet"

    async def batches(self) -> AsyncGenerator[RawBatch, None]:
        """Parts of files, without end; of several files a part of each in turn."""
        log.info("following files", folder=str(self._source.inbox), pattern=self._source.pattern)
        self._known = {each.inode: each for each in await self._kept.all()}
        try:
            while True:
                await self._look()
                read_any = False
                for one in [each for each in self._open.values() if each.more]:
                    began = datetime.now(UTC)
                    if found := await self._read_on(one):
                        read_any = True
                        yield self._batch(one, found, (began, datetime.now(UTC)))
                if not read_any:
                    await asyncio.sleep(self._source.poll.total_seconds())
        finally:
            for each in self._open.values():
                each.file.close()

    async def _look(self) -> None:
        """See what is there: open what is new, let go what is gone, and tell."""
        entries = await asyncio.to_thread(self._entries)
        ours_last = sorted(entries, key=lambda entry: not entry.why)  # of two names of a file it counts
        there = {entry.mark.place: entry for entry in ours_last if entry.mark is not None}
        all_seen = all(entry.mark for entry in entries)  # else a folder could not be read: nothing is gone
        for one in list(self._open.values()):
            await self._look_at(one, there.get(one.mark.place), all_seen=all_seen)
        for entry in entries:
            if self._is_to_be_opened(entry):
                await self._open_file(entry, there)
        if all_seen:
            await self._miss(there)
        self._rest()
        self._aside = {
            shown(entry.name): self._why_aside(entry) for entry in entries if self._why_aside(entry)
        }
        self._set_aside.keep({entry.name for entry in entries})
        await self._teller.tell(self.not_taken)

    def _entries(self) -> list[Entry]:
        try:
            return list(look(self._source.inbox, self._source.wanted))
        except OSError as error:
            return [Entry(".", why=f"the folder cannot be read: {error.strerror}")]

    def _why_aside(self, entry: Entry) -> str:
        if entry.mark is not None and entry.mark.place in self._open:
            return ""
        return entry.why or self._why_no_text(entry)

    def _why_no_text(self, entry: Entry) -> str:
        """Why a file is not followed whose name is one of ours."""
        parquet = isinstance(self._source.format_of(entry.name), ParquetFormat)
        return "a Parquet file does not grow: only CSV and NDJSON are followed" if parquet else ""

    async def _look_at(self, one: _Open, entry: Entry | None, *, all_seen: bool) -> None:
        """An open file as it is now, whatever it is called; one that will not grow any more is let go."""
        file, place = one.file, one.mark.place
        try:
            mark = entry.mark if entry and entry.mark else await asyncio.to_thread(file.mark)
            if one.seen(mark, _now()):
                await asyncio.to_thread(file.check)
        except ChangedError:
            self._let_go(place)  # it is told when it is opened again
            return
        name = entry.name if entry else None
        if entry is not None or all_seen:
            one.fits = entry is not None and not entry.why
            if name != file.name:
                log.info("followed file renamed", path=file.path, name=name and shown(name))
                file.name = name
                if name is not None:
                    await self._kept.seen(file.id, shown(name), place)
        if not one.fits:
            await self._read_to_the_end(one)

    async def _read_to_the_end(self, one: _Open) -> None:
        """Let a file go whose name is none of ours any more, once it has been quiet and all is committed."""
        file = one.file
        quiet = _now() - one.since >= self._source.unfinished.total_seconds()
        if one.more or not quiet or await asyncio.to_thread(file.is_written):
            return
        if one.rest:
            one.more = True  # what stands there is its last record
        elif file.committed == file.reached.next:
            await self._kept.left(file.id)
            log.info("followed file read to its end", path=file.path, bytes=file.reached.next)
            self._forget(one.mark.place)

    def _is_to_be_opened(self, entry: Entry) -> bool:
        mark = entry.mark
        if mark is None or mark.place in self._open:
            return False
        if self._set_aside.waits(entry.name):
            return False
        if entry.why:  # renamed to a name that is none of ours: its rest is read
            return mark.place in self._known or mark.place in self._locked
        return self._resting.get(mark.place) != mark and not self._why_no_text(entry)

    async def _open_file(self, entry: Entry, there: Mapping[str, Entry]) -> None:
        """Open a file and find out which one it is; a failure sets it aside."""
        name, place = entry.name, entry.mark.place if entry.mark else ""
        try:
            candidate = await asyncio.to_thread(Candidate, self._source, name)
        except LockedError:
            self._known.pop(place, None)  # whoever reads it tells what becomes of it
            if place not in self._locked:
                self._locked.add(place)
                log.info("another listener follows the file", path=shown(name))
            return
        except FileNotFoundError:
            return
        except OSError as error:
            self._set_aside.failed(name, error)
            return
        self._locked.discard(place)
        opened = False
        try:
            opened = await self._follow(candidate, there, ours=not entry.why)
        except _ANY_FAILURE as error:
            self._set_aside.failed(name, error)
        finally:
            if not opened:
                candidate.close()

    async def _follow(self, candidate: Candidate, there: Collection[str], *, ours: bool) -> bool:
        """Go on with a file where it was read to, or begin it; False: not now."""
        place, lost = candidate.mark.place, self._set_aside.lost
        growing = await recognise(self._kept, candidate, there, ours=ours, lost=lost)
        if growing is None:  # another listener was faster, or something else lies there by now
            if not ours:
                self._known.pop(place, None)
            return False
        self._open[place] = _Open(growing, candidate.mark, _now(), fits=ours)
        self._known.pop(place, None)
        self._known = {where: each for where, each in self._known.items() if each.file != growing.id}
        self._resting.pop(place, None)
        log.info("file followed", path=growing.path, file=str(growing.id), next=growing.reached.next)
        return True

    async def _miss(self, there: Mapping[str, Entry]) -> None:
        """Tell of files that were followed before and are gone: whether they had grown is not known."""
        followed = {each.file.id for each in self._open.values()}
        for place, was in list(self._known.items()):
            if place in there or was.file in followed:
                continue
            self._known.pop(place)
            self._resting.pop(place, None)
            why = (
                f"it is gone; what came after its first {was.reached.next:,} bytes, if anything, was not read"
            )
            log.warning("a followed file is gone", path=was.seen_as, reason=why)
            self._set_aside.lost(was.seen_as, why)
            await self._kept.left(was.file)

    def _rest(self) -> None:
        """Close files that were quiet the longest, where too many are open."""
        quiet = [
            place
            for place, one in self._open.items()
            if not one.more and one.file.committed == one.file.reached.next
        ]
        quiet.sort(key=lambda place: self._open[place].since)
        for place in quiet[: max(0, len(self._open) - MOST_OPEN)]:
            self._resting[place] = self._open[place].mark
            self._known[place] = self._open[place].file.known
            self._forget(place)

    async def _read_on(self, one: _Open) -> Following | None:
        """The next part of a file; None: nothing yet, or it is let go."""
        file, name = one.file, one.file.name or one.file.path
        to_the_end = not one.fits and one.rest > 0
        try:
            found = await asyncio.to_thread(lambda: file.read_on(to_the_end=to_the_end))
        except ChangedError:
            self._let_go(one.mark.place)
            return None
        except _ANY_FAILURE as error:
            self._set_aside.failed(name, error)
            self._let_go(one.mark.place)
            return None
        self._set_aside.is_well(name)
        one.more = found is not None
        one.rest = 0 if found or to_the_end else max(0, one.mark.size - file.reached.next)
        return found

    def _batch(self, one: _Open, found: Following, read: tuple[datetime, datetime]) -> RawBatch:
        file, place, reached = one.file, one.mark.place, one.file.reached

        async def acknowledge() -> None:
            file.committed = reached.next

        async def abandon() -> None:
            if self._open.get(place) is one:  # else it was let go already
                self._let_go(place)

        return file.batch(found, read, acknowledge, abandon)

    def _let_go(self, place: str) -> None:
        """Close a file that is opened again at the next look, whatever it is called.

        It is read on from where Postgres says; where it is gone by then, that is told.
        """
        if one := self._open.get(place):
            known = one.file.known
            self._known[place] = replace(known, reached=replace(known.reached, next=one.file.committed))
        self._forget(place)

    def _forget(self, place: str) -> None:
        """Close a file of which nothing is to be read."""
        if one := self._open.pop(place, None):
            one.file.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
