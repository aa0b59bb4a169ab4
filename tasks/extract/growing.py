"""One file that grows: open and locked, and read on in whole records from where it was read to.

A record that does not end yet waits, and so does a quote that is still open. What is read is hashed on, so a
file that holds other bytes than those that were read of it is noticed: by both ends before each part is given
on, and as a whole when it is opened or was changed without having grown.
"""

import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from tasks.batch import Advance, Position, RawBatch
from tasks.extract.content import ChangedError, read_at
from tasks.extract.cuts import Cut, Part, Text
from tasks.extract.encoding import UTF8_MARK, why_no_text
from tasks.extract.file_life import Mark
from tasks.extract.file_parts import HEAD, LONGEST, halved_text, text_messages, text_of
from tasks.extract.files import FileSource
from tasks.extract.folder import mark_of
from tasks.extract.formats.format import TextFormat
from tasks.extract.lines import LF, Opening
from tasks.extract.locked import open_locked
from tasks.extract.read_before import ReadBefore, Running, hashes_at
from tasks.extract.taken import Span, layout_of_part
from tasks.extract.writer import ending_of
from tasks.followed import FollowedFile, Reached
from tasks.layout import whole

Done = Callable[[], Awaitable[None]]


class Candidate:
    """An open, locked file that may have been read before. Raises as `open_locked`."""

    def __init__(self, source: FileSource, name: str) -> None:
        self.source, self.name = source, name
        self.file = open_locked(source.inbox, name)
        self.mark = mark_of(os.fstat(self.file.fileno()))

    def same_as(
        self, path: str, known: Sequence[FollowedFile], present: Collection[str]
    ) -> tuple[FollowedFile, Running] | None:
        """The file that it is, and the hash of what was read of it; one that lies here comes first.

        One that lies elsewhere in the folder (`present`) is not this one, and where nothing was read of a
        file its name has to be the same.
        """
        sizes = hashes_at(self.file.fileno(), [each.reached.next for each in known])
        fitting = [
            each
            for each in known
            if each.reached.next in sizes
            and sizes[each.reached.next].digest() == each.reached.sha256
            and (each.inode == self.mark.place or (each.reached.next and each.inode not in present))
            and (each.reached.next or path in (each.path, each.seen_as))
        ]
        found = min(fitting, key=lambda each: each.inode != self.mark.place, default=None)
        return None if found is None else (found, sizes[found.reached.next])

    def why_not(self, known: FollowedFile) -> str:
        """Why it is not the file that lay here."""
        size, read = self.mark.size, known.reached.next
        if size < read:
            return f"it has {size:,} bytes, and {read:,} were read of it before"
        return f"its first {read:,} bytes are others than those that were read of it"

    def close(self) -> None:
        self.file.close()


@dataclass(frozen=True, slots=True)
class Following:
    """Records that come next, and the hash of all that stands before them.

    `first`: where it begins in its file; the first one holds what stands before the records too.
    """

    part: Part
    first: int
    held: bytes  # from there on
    before: Running

    def cut_at(self, halves: tuple[Part, Part]) -> "tuple[Following, Following]":
        """The two that its part is cut into."""
        one, other = halves
        middle = other.cut.first - self.first
        between = self.before.copy()
        between.update(self.held[:middle])
        return (
            Following(one, self.first, self.held[:middle], self.before),
            Following(other, other.cut.first, self.held[middle:], between),
        )

    @property
    def since(self) -> str | None:
        """The mark of how far the file was read before it; None: it is the first."""
        read = Reached(next=self.first, line=self.part.cut.line, sha256=self.before.digest())
        return read.mark if self.first else None

    def reached(self, line_end: bytes) -> Reached:
        """How far the file is read with it."""
        running, cut = self.before.copy(), self.part.cut
        running.update(self.held)
        lines = self.held.count(line_end, cut.first - self.first)
        return Reached(next=cut.end, line=cut.line + lines, sha256=running.digest())


class Growing:
    """A file that is followed; `reached`: how far it was given on, `committed`: how far of that is stored."""

    def __init__(self, candidate: Candidate, known: FollowedFile, running: Running) -> None:
        file_format = candidate.source.format_of(known.path)
        assert isinstance(file_format, TextFormat)  # noqa: S101 - the watch asked
        self._source, self._file = candidate.source, candidate.file
        self._descriptor = candidate.file.fileno()
        self._format = file_format
        self.id, self.path, self._known = known.file, known.path, known
        self.name: str | None = candidate.name  # as it is called now; None: it is gone
        self.reached, self.committed = known.reached, known.reached.next
        self._before = ReadBefore(self._descriptor, known.reached.next, running)
        self._text: Text | None = None

    @property
    def known(self) -> FollowedFile:
        """As it is kept once all that was given on is committed."""
        return replace(self._known, inode=self.mark().place, reached=self.reached)

    def mark(self) -> Mark:
        return mark_of(os.fstat(self._descriptor))

    def is_written(self) -> bool:
        """Whether somebody has it open for writing, as far as the system tells."""
        return bool(ending_of(self._file, self._format).written)

    def check(self) -> None:
        """Raise ChangedError where it holds other bytes than those that were read."""
        if not self._before.stands_whole():
            raise ChangedError

    def close(self) -> None:
        self._file.close()

    def read_on(self, *, to_the_end: bool = False) -> "Following | None":
        """What comes next in whole records, at most a part; None: nothing yet. Raises ChangedError.

        `to_the_end`: nothing will come any more, so a record ends where the file does.
        """
        found = self._read_on(to_the_end=to_the_end)
        if not self._before.stands():  # looked at last: what was read meanwhile is not given on
            raise ChangedError
        if found is None or self._text is None:
            return None
        following = self._following(self._text, found)
        self._before.add(following.held)
        self.reached = following.reached(self._text.line_end)
        return following

    def _following(self, text: Text, chunk: bytes) -> Following:
        first, line, before = self.reached.next, self.reached.line, b""
        if not first:
            first, line, before = text.begin, text.first_line, text.before or UTF8_MARK[: text.begin]
        cut = Cut(first, first + len(chunk), line)
        part = Part(cut, text_messages(text, cut, chunk), text.refused)
        return Following(part, self.reached.next, before + chunk, self._before.running)

    def _read_on(self, *, to_the_end: bool) -> bytes | None:
        self._text = self._text or self._told_by_head(to_the_end=to_the_end)
        if self._text is None:
            return None
        begin = self.reached.next or self._text.begin
        window, wanted = b"", self._source.max_bytes
        while True:
            window += read_at(self._descriptor, begin + len(window), wanted - len(window))
            ended = len(window) < wanted
            if taken := self._taken(window, self._text, all_of_it=ended and to_the_end):
                return window[:taken]
            if ended:
                alone = to_the_end and not self.reached.next and self._text.before
                return b"" if alone else None  # so that a header without records is judged
            wanted *= 2

    def _taken(self, window: bytes, text: Text, *, all_of_it: bool) -> int:
        if text.refused or all_of_it:
            return len(window)
        taken = whole(window, text.format.kind, text.line_end)
        return taken or (len(window) if len(window) >= LONGEST else 0)

    def _told_by_head(self, *, to_the_end: bool) -> Text | None:
        """What the file is, once the lines before its records have ended."""
        wanted = HEAD
        while True:
            head = read_at(self._descriptor, 0, wanted)
            if why_no_text(head):
                return text_of(self.path, self._format, head, Opening(0, LF))
            ended = len(head) < wanted
            over = len(head) >= LONGEST or (ended and to_the_end and bool(head))
            if found := self._format.opening(head, ended=over):
                return text_of(self.path, self._format, head, found)
            if ended:
                return None
            wanted *= 2

    def batch(self, following: Following, read: Span, acknowledge: Done, abandon: Done) -> RawBatch:
        """Committed where the one before it ended, or abandoned."""
        return replace(self._batch(following, read, abandon), acknowledge=acknowledge)

    def _batch(self, following: Following, read: Span, abandon: Done) -> RawBatch:
        text, part, first = self._text, following.part, following.first
        assert text is not None  # noqa: S101 - it was read
        reached = following.reached(text.line_end)

        def halve() -> tuple[RawBatch, RawBatch] | None:
            halves = halved_text(text, part)
            if halves is None:
                return None
            one, other = following.cut_at(halves)
            return self._batch(one, read, abandon), self._batch(other, read, abandon)

        dataset = self._source.dataset
        return RawBatch(
            dataset=dataset,
            messages=part.messages,
            received_at=read[0],
            received_until=read[1],
            position=Position(source=dataset, detail=_detail(self.path, self.id, first, reached)),
            layout=layout_of_part(self._source, text, part),
            progress=(Advance(following.since, reached.mark, str(self.id)),),
            abandon=abandon,
            halve=halve,
        )


def _detail(path: str, file: UUID, first: int, reached: Reached) -> dict[str, str | int]:
    return {
        "path": path,
        "file": str(file),
        "from": first,
        "to": reached.next,
        "line": reached.line,
        "sha256": reached.sha256.hex(),
    }
