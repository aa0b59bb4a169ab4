"""A file that grows, and how far it was read: what its reader and the load step tell each other."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from lineage.errors import RejectedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Everything before byte `next` was read."""

    next: int
    line: int  # that begins there, from 1
    sha256: bytes  # of all that was read

    @property
    def mark(self) -> str:
        """As `store.progress` keeps it."""
        return f"{self.next} {self.line} {self.sha256.hex()}"

    @classmethod
    def of(cls, mark: str) -> Self:
        """What a mark says; raises RejectedError where somebody wrote another."""
        try:
            read, line, digest = mark.split()
            return cls(next=int(read), line=int(line), sha256=bytes.fromhex(digest))
        except ValueError as error:
            raise RejectedError(
                f"store.progress says that a file was read to {mark!r}, which is no BYTES LINE SHA-256: "
                "delete the row to read the file anew."
            ) from error


NOTHING: Final = Reached(next=0, line=1, sha256=hashlib.sha256().digest())
"""Of a file that is begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedFile:
    """A file as it is kept, and how far it was read."""

    file: UUID  # its identity, whatever it is called
    path: str  # below the folder, as it was called when it was begun
    number: int  # which one of that path, from 1
    inode: str  # DEVICE:INODE, as last seen
    seen_as: str  # as it was last called
    left: bool  # it was gone, or rotated and read to its end
    reached: Reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The files of a pipeline that are followed, as they are kept."""

    all: Callable[[], Awaitable[Sequence[FollowedFile]]]
    find: Callable[[str, str], Awaitable[Sequence[FollowedFile]]]  # called so, or lies there: newest first
    begin: Callable[[FollowedFile], Awaitable[bool]]  # note it; False: somebody else has begun it
    seen: Callable[[UUID, str, str], Awaitable[None]]  # it is called so and lies there now
    left: Callable[[UUID], Awaitable[None]]  # it is followed no more
