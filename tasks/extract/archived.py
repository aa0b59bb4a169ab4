"""Files that were archived lately: one that is still written comes back, to be read again.

Who has a file open for writing goes on writing to it wherever it is moved, and where the system does not tell
us of writers we cannot know beforehand.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from tasks.extract.archive import bring_back
from tasks.extract.file_life import Mark
from tasks.extract.files import FileSource
from tasks.extract.folder import mark_at, shown

log = structlog.get_logger(__name__)

KEPT: Final = 3600.0  # seconds that an archived file is looked at
MOST: Final = 1_000  # files that are looked at, the newest
EVERY: Final = 5.0  # seconds between two looks


@dataclass(frozen=True, slots=True)
class _Archived:
    name: str  # in its folder
    sha256: str
    mark: Mark  # as it was read
    until: float


class ArchiveWatch:
    """Looks at what was archived lately."""

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._files: dict[str, _Archived] = {}  # by their names in the archive
        self._looked_at = float("-inf")

    def add(self, archived: str, name: str, sha256: str, mark: Mark, now: float) -> None:
        """A file that was just archived."""
        self._files[archived] = _Archived(name, sha256, mark, now + KEPT)
        while len(self._files) > MOST:
            self._files.pop(next(iter(self._files)))

    async def look(self, now: float) -> None:
        """Bring back what changed."""
        if now - self._looked_at < EVERY:
            return
        self._looked_at = now
        self._files = {archived: file for archived, file in self._files.items() if file.until > now}
        lately = dict(self._files)  # others are archived while a thread looks
        for archived in await asyncio.to_thread(self._changed, lately):
            file = lately[archived]
            self._files.pop(archived, None)
            try:
                back = await asyncio.to_thread(
                    bring_back, self._source.archived, archived, self._source.inbox, file.name, file.sha256
                )
            except OSError as error:
                log.warning("an archived file was written to", path=shown(archived), reason=str(error))
                continue
            log.warning("an archived file was written to, and is read again", path=shown(back))

    def _changed(self, lately: Mapping[str, _Archived]) -> list[str]:
        there = {archived: mark_at(self._source.archived, archived) for archived in lately}
        return [
            archived
            for archived, mark in there.items()
            if mark is not None and not lately[archived].mark.moved(mark)
        ]
