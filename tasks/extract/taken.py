"""One file that is read: open and locked until it is archived or let go, and the batches of its parts."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import BinaryIO

from tasks.batch import Layout, Position, RawBatch
from tasks.extract.content import ChangedError, Content
from tasks.extract.cuts import Cut, Part, Survey, Text
from tasks.extract.file_life import Ending, Mark
from tasks.extract.file_parts import halved, survey
from tasks.extract.files import FileSource
from tasks.extract.folder import mark_at, mark_of, shown
from tasks.extract.locked import open_locked
from tasks.extract.writer import ending_of

Span = tuple[datetime, datetime]
"""When a part began to be read, and when it was."""
Acknowledge = Callable[[], Awaitable[None]]


class Opened:
    """A file that is open and locked.

    Raises OSError, ChangedError where it is another file by now, LockedError where another listener reads it.
    """

    def __init__(self, source: FileSource, name: str, mark: Mark) -> None:
        self.source, self.name = source, name
        file_format = source.format_of(name)
        assert file_format is not None  # noqa: S101 - `look` told
        self.format = file_format
        self._file: BinaryIO = open_locked(source.inbox, name)
        self._mark = mark
        if self.mark() != self._mark:
            self.close()
            raise ChangedError

    def ending(self) -> Ending:
        return ending_of(self._file, self.format)

    def mark(self) -> Mark:
        """Of what is open, whatever its name is now."""
        return mark_of(os.fstat(self._file.fileno()))

    def there(self) -> Mark | None:
        """Of what stands under its name now."""
        return mark_at(self.source.inbox, self.name)

    def surveyed(self) -> Survey:
        """Read it once; raises ChangedError if it changed meanwhile."""
        content = Content(self._file.fileno())
        found = survey(content, shown(self.name), self.format, self.source.limits)
        if self.mark() != self._mark or content.size != self._mark.size:
            raise ChangedError
        return found

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Taken:
    """A file that is read."""

    opened: Opened
    found: Survey

    def position(self, cut: Cut) -> Position:
        group = {} if cut.group is None else {"group": cut.group}
        detail = {
            "path": self.found.name,
            "sha256": self.found.sha256,
            "from": cut.first,
            "to": cut.end,
            **group,
        }
        return Position(source=self.opened.source.dataset, detail=detail)

    def is_unchanged(self, mark: Mark) -> bool:
        return self.opened.mark() == mark == self.opened.there()

    def batch(self, part: Part, read: Span, acknowledge: Acknowledge) -> RawBatch:
        return replace(self._batch(part, read), acknowledge=acknowledge)

    def _batch(self, part: Part, read: Span) -> RawBatch:
        def halve() -> tuple[RawBatch, RawBatch] | None:
            halves = halved(self.found, part)
            return halves and (self._batch(halves[0], read), self._batch(halves[1], read))

        return RawBatch(
            dataset=self.opened.source.dataset,
            messages=part.messages,
            received_at=read[0],
            received_until=read[1],
            position=self.position(part.cut),
            layout=layout_of_part(self.opened.source, self.found, part),
            halve=halve,
        )


def layout_of_part(source: FileSource, text: Text, part: Part) -> Layout:
    """Where the records of a part stand."""
    return replace(
        text.format.layout(),
        columns=source.columns,
        line_end=text.line_end.decode(),
        refused=part.refused,
    )
