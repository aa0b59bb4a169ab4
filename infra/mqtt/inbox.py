"""Messages that were read and not taken yet, in order; what was read together stays together if it fits."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime

from infra.mqtt.frames import Publishes


@dataclass(slots=True)
class Read:
    """Messages and when the first and the last of them were read."""

    publishes: Publishes
    first_at: datetime  # UTC
    last_at: datetime  # UTC
    clock: float  # of the first: the event loop's time, seconds


class Inbox:
    """A queue of reads, counted in messages and bytes."""

    def __init__(self) -> None:
        self.messages = 0
        self.size = 0  # bytes of frames
        self._reads: deque[Read] = deque()

    @property
    def oldest(self) -> float | None:
        """When the first message was read, in the event loop's time."""
        return self._reads[0].clock if self._reads else None

    def add(self, read: Read) -> None:
        self._reads.append(read)
        self.messages += len(read.publishes)
        self.size += read.publishes.size

    def take(self, messages: int, size: int) -> Read | None:
        """The oldest messages, as many as fit into both limits and at least one; None if there are none."""
        if not self._reads:
            return None
        first = self._reads[0]
        taken = Read(Publishes(), first.first_at, first.last_at, first.clock)
        while self._reads and self._move(taken, messages - len(taken.publishes), size - taken.publishes.size):
            pass
        self.messages -= len(taken.publishes)
        self.size -= taken.publishes.size
        return taken

    def _move(self, taken: Read, messages: int, size: int) -> bool:
        """Move what fits of the oldest read; whether all of it did."""
        read = self._reads[0]
        count = _fitting(read.publishes, messages, size)
        if not len(taken.publishes):
            count = max(count, 1)
        whole = count >= len(read.publishes)
        if whole:
            part = self._reads.popleft().publishes
        else:
            part, read.publishes = read.publishes.cut(count)
        taken.publishes.extend(part)
        if count:
            taken.last_at = read.last_at
        return whole


def _fitting(publishes: Publishes, messages: int, size: int) -> int:
    """How many of them fit into so many messages and bytes."""
    if len(publishes) <= messages and publishes.size <= size:
        return len(publishes)
    count = 0
    for topic, payload in zip(publishes.topics[: max(messages, 0)], publishes.payloads, strict=False):
        size -= len(topic) + len(payload)
        if size < 0:
            break
        count += 1
    return count
