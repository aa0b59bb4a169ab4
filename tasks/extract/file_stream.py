"""Files of a folder as a stream: dropped and archived, or followed as they grow."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from tasks.batch import RawBatch
from tasks.extract.file_watch import FileWatch
from tasks.extract.files import FileOptions, FileSource
from tasks.extract.follow_watch import FollowWatch
from tasks.extract.stream import Listening, Shown, Stream


class FileStream(FileOptions, Stream):
    """What a pipeline says of its files, and their parts as batches."""

    @property
    def writers(self) -> int:
        return self.connections

    @asynccontextmanager
    async def open(self, listening: Listening) -> AsyncIterator[AsyncIterator[RawBatch]]:
        """The folder is made where it is not there yet."""
        source = FileSource(**self.model_dump(exclude_unset=True), root=listening.places.files)
        source.inbox.mkdir(parents=True, exist_ok=True)
        watch = _watch(source, listening)
        listening.show = lambda: _shown(len(watch.not_taken))
        async with aclosing(watch.batches()) as coming:
            yield coming


def _watch(source: FileSource, listening: Listening) -> FileWatch | FollowWatch:
    if source.follow:
        return FollowWatch(source, listening.followed, listening.tell)
    return FileWatch(source, listening.uncommitted, listening.tell)


def _shown(left: int) -> Shown:
    return Shown(doing=f"listening, {left} in the folder not taken" if left else "listening", not_taken=left)
