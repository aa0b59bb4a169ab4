"""Who lists the files that are not taken is told of them: when they change, and again and again."""

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

Tell = Callable[[Mapping[str, str]], Awaitable[None]]
"""Is told what lies in the folder and is not taken: its name, and why."""

TELL_EVERY = 60.0  # seconds; who was told may have been away, or was restored since


async def nobody(_not_taken: Mapping[str, str]) -> None:
    """Is told, and does nothing."""


class Teller:
    """Tells what is not taken; one per folder."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: Mapping[str, str] | None = None
        self._told_at = float("-inf")

    async def tell(self, not_taken: Mapping[str, str]) -> None:
        now = monotonic()
        if not_taken != self._told or now - self._told_at >= TELL_EVERY:
            self._told, self._told_at = not_taken, now
            await self._tell(not_taken)
