"""How far a file that grows was read: what its reader and the load step tell each other."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Everything before byte `next` was read."""

    next: int
    line: int  # that begins there, from 1
    sha256: bytes  # of all that was read


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedFile:
    """A file as it is kept with the rows that were read of it."""

    file: UUID  # its identity, whatever it is called
    path: str  # below the folder, as it was called when it was begun
    number: int  # which one of that path, from 1
    inode: str  # DEVICE:INODE, as last seen
    seen_as: str  # as it was last called
    left: bool  # it was gone, or rotated and read to its end
    reached: Reached


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedSpan:
    """Bytes of a followed file, from `first` to what is reached with them."""

    file: UUID
    path: str
    first: int
    reached: Reached
