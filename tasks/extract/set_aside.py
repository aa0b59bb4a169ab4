"""Files that could not be read, each tried again after a pause that grows; files of which some was lost."""

import asyncio
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Final

import structlog

from tasks.extract.file_life import pause_after
from tasks.extract.folder import shown

log = structlog.get_logger(__name__)

TOLD_FOR: Final = 3600.0  # seconds that a loss is told by `headwater status`; the log keeps it


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why a file is set aside, and until when (the event loop's seconds)."""

    why: str
    tries: int
    again_at: float


class SetAside:
    """One per folder; `name`: as the system says it, below the folder."""

    def __init__(self) -> None:
        self._troubles: dict[str, _Trouble] = {}
        self._lost: dict[str, tuple[str, float]] = {}  # by the name that is shown: why, and until when

    def failed(self, name: str, error: BaseException) -> None:
        """Set a file aside for a while; told once, until it fails in another way."""
        why = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
        before = self._troubles.get(name) or _Trouble("", 0, 0.0)
        if before.why != why:
            log.warning("file not read, tried again", path=shown(name), reason=why)
        again_at = _now() + pause_after(before.tries)
        self._troubles[name] = replace(before, why=why, tries=before.tries + 1, again_at=again_at)

    def lost(self, shown_name: str, why: str) -> None:
        self._lost[shown_name] = why, _now() + TOLD_FOR

    def waits(self, name: str) -> bool:
        trouble = self._troubles.get(name)
        return trouble is not None and _now() < trouble.again_at

    def is_well(self, name: str) -> None:
        self._troubles.pop(name, None)

    def keep(self, names: Container[str]) -> None:
        """Forget files that lie there no more, and losses that were told for long enough."""
        self._troubles = {name: each for name, each in self._troubles.items() if name in names}
        self._lost = {name: each for name, each in self._lost.items() if each[1] > _now()}

    def told(self) -> Iterator[tuple[str, str]]:
        """Each file's name as it is shown, and why; a trouble after a loss."""
        for name, (why, _) in self._lost.items():
            yield name, why
        for name, trouble in self._troubles.items():
            yield shown(name), trouble.why


def _now() -> float:
    return asyncio.get_running_loop().time()
