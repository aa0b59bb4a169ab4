"""The life of one file in a folder: what may be done with it next, decided without a look at any disk.

    seen ─quiet for long─▶ settled ─locked, surveyed─▶ read ─every part─▶ committed ─still the same─▶ archived
      ▲                       │                         │                    │
      └─── it changed: begun again ◀────────────────────┴────────────────────┘
    any step that fails ─▶ set aside: told, and tried again after a pause that grows

Two promises hang on it: a file that may still be written is not read, and none is archived unless what was
read is what is there.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

FIRST_PAUSE: Final = 1.0  # seconds until a file that failed is tried again; doubles
LONGEST_PAUSE: Final = 300.0
_DOUBLED: Final = 16  # times; by then it is the longest, and 2 to the power of 1,024 is no float


def pause_after(tries: int) -> float:
    """Seconds until a file that failed so often before is tried again."""
    return min(FIRST_PAUSE * 2.0 ** min(tries, _DOUBLED), LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells that a file is another one or has changed.

    Who edits a file can give it back its old time of change, but not the time of doing so (`ctime_ns`).
    """

    device: int
    inode: int
    size: int  # bytes
    mtime_ns: int
    ctime_ns: int

    @property
    def place(self) -> str:
        """Where the file lies, whatever it is called: DEVICE:INODE."""
        return f"{self.device}:{self.inode}"

    def moved(self, to: "Mark") -> bool:
        """Whether the other one is this file under another name: to rename it changes `ctime_ns`."""
        return self == replace(to, ctime_ns=self.ctime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """How long a file must not change before it is read (seconds)."""

    settle: float
    unfinished: float  # of one that does not end as a finished one does


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What an open file tells about its writer."""

    whole: bool  # it ends with the end of a line, or with a Parquet footer
    written: bool | None  # somebody has it open for writing; None: the system does not say


class Stage(StrEnum):
    """How far a file has come."""

    SEEN = "seen"
    READ = "read"  # it is being read, or its parts are on their way
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Life:
    """One file; every change gives a new one. Times are the event loop's (seconds)."""

    mark: Mark
    since: float  # when it was first seen as it is
    stage: Stage = Stage.SEEN
    left: int = 0  # parts to be committed
    tries: int = 0  # how often something failed
    again_at: float = float("-inf")  # not before
    why: str = ""  # it is not taken, or not archived

    def seen(self, mark: Mark, now: float) -> "Life":
        """A look at the folder found it; one that changed begins anew."""
        return self if self.mark == mark else Life(mark, now)

    def is_due(self, now: float, quiet: Quiet) -> bool:
        """Whether to open it and see whether it is whole."""
        waits = self.stage is not Stage.SEEN or now < self.again_at
        return not waits and now - self.since >= quiet.settle

    def why_not_yet(self, ending: Ending, now: float, quiet: Quiet) -> str:
        """Why one that is due is not read yet; empty: it is read."""
        if ending.written:
            return "somebody has it open for writing"
        if not ending.whole and now - self.since < quiet.unfinished:
            what = "it is empty so far" if not self.mark.size else "it does not end as a finished file does"
            return f"{what}: read when it has not changed for {quiet.unfinished:g} s"
        return ""

    def waits(self, why: str) -> "Life":
        return replace(self, why=why)

    def taken(self, left: int) -> "Life":
        """It is surveyed; so many of its parts are to be committed."""
        return replace(self, stage=Stage.READ if left else Stage.COMMITTED, left=left, why="")

    def committed(self) -> "Life":
        """One more part is committed."""
        left = self.left - 1
        return replace(self, stage=Stage.READ if left else Stage.COMMITTED, left=left)

    def failed(self, why: str, now: float) -> "Life":
        """A step failed: it is tried again, each time after a longer pause; what is committed stays so."""
        pause = pause_after(self.tries)
        stage = self.stage if self.stage is Stage.COMMITTED else Stage.SEEN
        return replace(self, stage=stage, tries=self.tries + 1, again_at=now + pause, why=why)

    def may_be_archived(self, now: float) -> bool:
        return self.stage is Stage.COMMITTED and now >= self.again_at

    def why_not_the_same(self, there: Mark | None, ending: Ending) -> str:
        """Why a committed file must not be archived; `there`: what stands under its name now."""
        if there is None:
            return "it is gone"
        if there != self.mark:
            return "it changed after it was read"
        return "somebody has it open for writing" if ending.written else ""
