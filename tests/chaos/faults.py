"""What is done to what runs: each fault breaks one thing, and has it run again."""

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Self

import psutil

from infra.local.addresses import Address
from infra.local.service import LocalService
from tests.chaos.entry import LISTEN, RELAY
from tests.chaos.outbox import Outbox
from tests.chaos.rig import Entry, Rig, running

LONGEST_STOP = 2.0  # seconds
AWAY = (0.0, 0.5, 3.0)  # seconds before it is started again
MOMENT_PATIENCE = 20.0  # seconds in which a moment is to be reached


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by its name; `strike` breaks, and starts again; whether it came to pass."""

    name: str
    weight: int
    strike: Callable[[], bool]


class Faults:
    """All faults, drawn by chance."""

    def __init__(self, rig: Rig, outbox: Outbox, chance: random.Random) -> None:
        self._rig, self._outbox, self._chance = rig, outbox, chance
        self._faults = [*self._of_services(), *self._of_moments()]
        self._starting: dict[str, Future[Address]] = {}
        self._starters = ThreadPoolExecutor(len(rig.targets))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is started any more."""
        self._starters.shutdown()

    def wait_for_all(self) -> None:
        """Wait until everything runs again."""
        for target in self._rig.targets:
            self._wait_for(target)

    def draw(self) -> Fault:
        return self._chance.choices(self._faults, [fault.weight for fault in self._faults])[0]

    def _of_services(self) -> list[Fault]:
        acts = ((self._kill, 3), (self._terminate, 1), (self._freeze, 1))
        return [
            Fault(f"{act.__name__.removeprefix('_')} {target.name}", weight, partial(act, target))
            for target in self._rig.targets
            for act, weight in acts
        ]

    def _of_moments(self) -> list[Fault]:
        moments = [(entry, moment) for entry in self._rig.listeners for moment in LISTEN]
        moments += [(self._rig.relay, moment) for moment in RELAY]
        return [
            Fault(f"{entry.name} at {moment}", 2, partial(self._at, entry, moment))
            for entry, moment in moments
        ]

    def _kill(self, target: LocalService) -> bool:
        self._wait_for(target)
        target.kill()
        if target is self._rig.broker:
            self._outbox.again_after(self._rig.snapshot_at())
        self._start(target)
        return True

    def _terminate(self, target: LocalService) -> bool:
        self._wait_for(target)
        target.stop()
        self._start(target)
        return True

    def _freeze(self, target: LocalService) -> bool:
        self._wait_for(target)
        process = psutil.Process(running(target).pid)
        frozen = [process, *process.children(recursive=True)]
        _signal(frozen, signal.SIGSTOP)
        time.sleep(self._chance.uniform(0.1, LONGEST_STOP))
        _signal(frozen, signal.SIGCONT)
        return True

    def _at(self, entry: Entry, moment: str) -> bool:
        """Have a process of ours die at a moment."""
        self._wait_for(entry)
        entry.arm(moment)
        deadline = time.monotonic() + MOMENT_PATIENCE
        while entry.armed and time.monotonic() < deadline:
            time.sleep(0.02)
        reached = entry.disarm()
        if reached and moment != "unanswered":
            while entry.address() is not None:
                time.sleep(0.02)
            self._start(entry)
        return reached

    def _start(self, target: LocalService) -> None:
        """Start it again, now or later, while other things break."""
        away = self._chance.choice(AWAY)

        def start() -> Address:
            time.sleep(away)
            return target.start()

        self._starting[target.name] = self._starters.submit(start)

    def _wait_for(self, target: LocalService) -> None:
        """Wait until it runs; raises what its start raised, or RuntimeError when it ended by itself."""
        if starting := self._starting.pop(target.name, None):
            starting.result()
        running(target)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
