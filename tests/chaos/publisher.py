"""What every publisher of readings has in common: a rate, a list of what was acknowledged, an end."""

import random
import threading
import time
from abc import abstractmethod
from typing import ClassVar

from tests.chaos.readings import Readings


class Publisher(threading.Thread):
    """Publishes its way's readings in order at `rate` per second until `publish_no_more`, whatever breaks."""

    tick: ClassVar[float] = 0.1  # seconds between two bursts; each is a commit, and wants CPU

    def __init__(self, readings: Readings, rate: int) -> None:
        super().__init__(name=readings.way.name, daemon=True)
        self.readings = readings
        self.next = readings.way.first  # all numbers before it are given out
        self.acknowledged: dict[int, float] = {}  # number → when last, seconds since 1970 UTC
        self.error: BaseException | None = None  # that ended it
        self._rate = rate
        self._chance = random.Random(readings.seed)  # noqa: S311 -- not a secret
        self._finishing = threading.Event()

    @property
    def published(self) -> int:
        return self.next - self.readings.way.first

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.error = error
            raise

    def publish_no_more(self) -> None:
        """Publish nothing new; what is not acknowledged is published again."""
        self._finishing.set()

    def finish(self, patience: float) -> None:
        """Wait until everything is acknowledged.

        Raises TimeoutError when no more is acknowledged after `patience` s than before: a broker that forgot
        everything late in a long run is given hundreds of thousands again.
        """
        least = float("inf")
        while self.is_alive() and (left := self.waiting()) < least:
            least = left
            self.join(patience)
        if self.is_alive() or self.error:
            raise TimeoutError(f"{self.name} was not acknowledged: {self.error or self.waiting()}")

    @abstractmethod
    def burst(self, count: int) -> None:
        """Publish so many new ones, and hear what was acknowledged."""

    @abstractmethod
    def waiting(self) -> int:
        """How many are not acknowledged."""

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def _run(self) -> None:
        self.open()
        due = time.monotonic()
        while not (self._finishing.is_set() and not self.waiting()):
            due = max(due + self.tick, time.monotonic())
            self.burst(0 if self._finishing.is_set() else round(self._rate * self.tick))
            time.sleep(max(0.0, due - time.monotonic()))
        self.close()
