"""The bytes of an open file: hashed as they are read first, and never other ones when they are read again."""

import hashlib
import io
import os
from typing import Final

BLOCK: Final = 1 << 20  # bytes that have a hash of their own


class ChangedError(Exception):
    """A file holds other bytes than those that were hashed: it is begun again."""

    def __init__(self) -> None:
        super().__init__("it changed while it was read")


class Content:
    """A file that is read twice: once to hash it and to find its parts (`read`), then part by part."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._whole = hashlib.sha256()
        self._block = hashlib.sha256()
        self._blocks: list[bytes] = []
        self.size = 0  # bytes read, and so hashed

    @property
    def sha256(self) -> str:
        """Of what was read, hexadecimal."""
        return self._whole.hexdigest()

    def read(self, size: int) -> bytes:
        """The next bytes for the first time; fewer than `size` at the end alone."""
        data = read_at(self._descriptor, self.size, size)
        self._whole.update(data)
        view = memoryview(data)
        while view:
            room = BLOCK - self.size % BLOCK
            self._block.update(view[:room])
            self.size += len(view[:room])
            view = view[room:]
            if self.size % BLOCK == 0:
                self._end_block()
        return data

    def read_to_end(self) -> None:
        """Hash the rest."""
        while self.read(BLOCK):
            pass

    def _end_block(self) -> None:
        self._blocks.append(self._block.digest())
        self._block = hashlib.sha256()

    def read_again(self, first: int, end: int) -> bytes:
        """The bytes first ≤ byte < end as they were hashed; raises ChangedError if they are others now."""
        end = min(end, self.size)
        if first >= end:
            return b""
        begin, last = first - first % BLOCK, -(-end // BLOCK) * BLOCK
        data = read_at(self._descriptor, begin, min(last, self.size) - begin)
        for at in range(0, last - begin, BLOCK):
            if hashlib.sha256(memoryview(data)[at : at + BLOCK]).digest() != self._hash_at(begin + at):
                raise ChangedError
        return data[first - begin : end - begin]

    def _hash_at(self, begin: int) -> bytes:
        number = begin // BLOCK
        return self._blocks[number] if number < len(self._blocks) else self._block.digest()


class ContentFile(io.RawIOBase):
    """A content that was hashed, as a file for those who read one."""

    def __init__(self, content: Content) -> None:
        super().__init__()
        self._content, self._at = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._content.size if size < 0 else self._at + size
        data = self._content.read_again(self._at, end)
        self._at += len(data)
        return data


def read_at(descriptor: int, begin: int, size: int) -> bytes:
    """So many bytes, fewer at the end of the file alone."""
    pieces: list[bytes] = []
    while size and (piece := os.pread(descriptor, size, begin)):
        pieces.append(piece)
        begin, size = begin + len(piece), size - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
