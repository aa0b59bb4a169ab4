"""What was read of a file that grows: its hash goes on with every byte, and the file is known again by it."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from tasks.extract.content import BLOCK, read_at

ENDS: Final = 4096  # bytes at both ends of what was read, compared each time more is read

Running: TypeAlias = "hashlib._Hash"


def hashes_at(descriptor: int, sizes: Collection[int]) -> Mapping[int, Running]:
    """The hash of a file's first bytes, of each of these sizes that it has; it is read once."""
    running, at, found = hashlib.sha256(), 0, dict[int, Running]()
    for size in sorted(set(sizes)):
        while at < size and (data := read_at(descriptor, at, min(BLOCK, size - at))):
            running.update(data)
            at += len(data)
        if at < size:
            break
        found[size] = running.copy()
    return found


class ReadBefore:
    """The first bytes of an open file, as they were read."""

    def __init__(self, descriptor: int, size: int, running: Running) -> None:
        self._descriptor, self._running, self.size = descriptor, running, size
        self._head = read_at(descriptor, 0, min(size, ENDS))
        self._tail = read_at(descriptor, max(0, size - ENDS), min(size, ENDS))

    @property
    def running(self) -> Running:
        """Their hash, to go on with."""
        return self._running.copy()

    def add(self, data: bytes) -> None:
        """The bytes that come next."""
        self._running.update(data)
        self.size += len(data)
        self._head = (self._head + data[:ENDS])[:ENDS]
        self._tail = (self._tail + data[-ENDS:])[-ENDS:]

    def stands(self) -> bool:
        """Whether they still stand there, as far as both ends tell."""
        if read_at(self._descriptor, 0, len(self._head)) != self._head:
            return False
        return read_at(self._descriptor, self.size - len(self._tail), len(self._tail)) == self._tail

    def stands_whole(self) -> bool:
        """Whether they still stand there; all of them are read again."""
        now = hashes_at(self._descriptor, [self.size]).get(self.size)
        return now is not None and now.digest() == self._running.digest()
