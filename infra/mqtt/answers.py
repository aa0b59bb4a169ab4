"""What a broker still has to answer; it answers requests of one kind in the order they were sent."""

import asyncio
from collections import defaultdict, deque
from typing import Any, TypeVar

from infra.mqtt.frames import Answer

Kind = TypeVar("Kind", bound=Answer)


class Answers:
    """Requests without an answer yet, by the kind of their answer."""

    def __init__(self) -> None:
        self._expected = defaultdict[type[object], deque[asyncio.Future[Any]]](deque)

    def expect(self, kind: type[Kind]) -> asyncio.Future[Kind | None]:
        """One more request is sent; its answer. Who cancels it does not wait, and still it is answered."""
        future: asyncio.Future[Kind | None] = asyncio.get_running_loop().create_future()
        self._expected[kind].append(future)
        return future

    def expects(self, kind: type[Answer]) -> bool:
        return bool(self._expected[kind])

    def came(self, answer: Answer) -> None:
        """The oldest request of its kind is answered."""
        if self._expected[type(answer)]:
            _settle(self._expected[type(answer)].popleft(), answer)

    def give_up(self, kind: type[Answer]) -> None:
        """Who waits for such an answer gets None."""
        for future in self._expected.pop(kind, ()):
            _settle(future, None)

    def fail(self, error: Exception) -> None:
        """No more answers come."""
        for futures in self._expected.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self._expected.clear()


def _settle(future: asyncio.Future[Any], answer: Answer | None) -> None:
    if not future.done():
        future.set_result(answer)
