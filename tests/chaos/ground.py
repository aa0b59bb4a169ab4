"""What every fault stands on: the rig, chance, and things that are started again while others break."""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from infra.local.service import LocalService
from tests.chaos.backups import Backups
from tests.chaos.folder import Folder
from tests.chaos.outbox import Outbox
from tests.chaos.process import Entry
from tests.chaos.rig import Rig, running

AWAY = (0.0, 0.5, 3.0)  # seconds before it is started again
PATIENCE = 60.0  # seconds for what a fault must lead to


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by its name; `strike` breaks, and starts again; whether it came to pass.

    `ends`: it ends a process of ours; `ahead`: what must be done some cycles before.
    """

    name: str
    weight: int
    strike: Callable[[], bool]
    ends: bool = False
    ahead: Callable[[], None] | None = None


class Ground:
    """Where faults strike; `longest`: seconds of what is away or stuck for long.

    `folder`: where files are dropped, if any are; `gentle`: nothing ends a process of ours;
    `without`: targets that do not run, and are left alone. `kills` counts the cycles that ended a process by
    SIGKILL, `did` what faults did beyond coming to pass.
    """

    def __init__(
        self,
        rig: Rig,
        outbox: Outbox,
        chance: random.Random,
        longest: float,
        *,
        gentle: bool,
        without: frozenset[str],
        folder: Folder | None = None,
    ) -> None:
        self.rig, self.outbox, self.chance, self.longest = rig, outbox, chance, longest
        self.folder, self.backups = folder, Backups(rig)
        self.did = Counter[str]()
        self.gentle, self.without = gentle, without
        self.kills = 0
        self.memory: list[tuple[str, float, float]] = []  # who, MB before and after Postgres was away
        self._starting: dict[str, Future[object]] = {}
        self._beside: list[Future[object]] = []
        self._workers = ThreadPoolExecutor(len(rig.targets) + 4)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is started any more."""
        self._workers.shutdown(cancel_futures=True)

    def start(self, target: LocalService, away: float | None = None) -> None:
        """Start it again, now or later, while other things break."""
        pause = self.chance.choice(AWAY) if away is None else away

        def start() -> object:
            time.sleep(pause)
            return target.start()

        self._starting[target.name] = self._workers.submit(start)

    def kill(self, target: LocalService) -> None:
        """End it by SIGKILL, which a fault does once; raises RuntimeError when it does not run."""
        running(target)
        target.kill()
        self.kills += 1

    def died(self, entry: Entry) -> None:
        """Wait until one of ours that kills itself is gone."""
        while entry.address() is not None:
            time.sleep(0.02)
        self.kills += 1

    def beside(self, work: Callable[[], object]) -> None:
        """Do something while other things break; what it raises is raised by `look`."""
        self._beside.append(self._workers.submit(work))

    def wait_for(self, target: LocalService) -> None:
        """Wait until it runs; raises what its start raised, or RuntimeError when it ended by itself."""
        if starting := self._starting.pop(target.name, None):
            starting.result()
        running(target)

    def look(self) -> None:
        """Raise RuntimeError when a process ended by itself, and what work beside has raised."""
        for target in self._expected():
            starting = self._starting.get(target.name)
            if starting is None or starting.done():
                self.wait_for(target)
        for work in [each for each in self._beside if each.done()]:
            self._beside.remove(work)
            work.result()

    def wait_for_all(self) -> None:
        """Wait until everything runs again."""
        for target in self._expected():
            self.wait_for(target)
        for work in self._beside:
            work.result()

    def _expected(self) -> list[LocalService]:
        return [target for target in self.rig.targets if target.name not in self.without]

    def again(self, entry: Entry) -> None:
        """End one of ours in good order, and start it again; one that only starts is left alone."""
        starting = self._starting.get(entry.name)
        if starting is None or starting.done():
            self.wait_for(entry)
            entry.stop()
            self.start(entry, away=0.0)


def comes(is_there: Callable[[], bool]) -> bool:
    """Whether it comes in time."""
    deadline = time.monotonic() + PATIENCE
    while not (there := is_there()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return there
