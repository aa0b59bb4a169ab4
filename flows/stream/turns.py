"""A line: work that is prepared side by side and done one after the other, in the order it came."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """One's turn in a line; until `leave` nobody behind it has one."""

    before: asyncio.Event
    left: asyncio.Event

    async def come(self) -> None:
        """Return once everybody who came before has left."""
        await self.before.wait()

    def leave(self) -> None:
        self.left.set()


class Line:
    """With `in_order` false everybody has a turn at once."""

    def __init__(self, *, in_order: bool) -> None:
        self._in_order = in_order
        self._last = asyncio.Event()
        self._last.set()

    def join(self) -> Turn:
        """Take a place at the end of the line; `leave` it when done."""
        before = self._last
        if self._in_order:
            self._last = asyncio.Event()
        return Turn(before, self._last)
