"""What is done to what runs: each fault breaks one thing, and has it run again."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from infra.local.service import LocalService
from tests.chaos.entry import LISTEN, RELAY
from tests.chaos.outbox import Outbox
from tests.chaos.rig import Entry, Rig, running

LONGEST_STOP = 2.0  # seconds
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

    def draw(self) -> Fault:
        return self._chance.choices(self._faults, [fault.weight for fault in self._faults])[0]

    def _of_services(self) -> list[Fault]:
        return [
            Fault(f"{name} {target.name}", weight, lambda act=act, target=target: act(target))
            for target in self._rig.targets
            for name, weight, act in (
                ("kill", 3, self._kill),
                ("terminate", 1, self._terminate),
                ("freeze", 1, self._freeze),
            )
        ]

    def _of_moments(self) -> list[Fault]:
        moments = [(entry, moment) for entry in self._rig.listeners for moment in LISTEN]
        moments += [(self._rig.relay, moment) for moment in RELAY]
        return [
            Fault(f"{entry.name} at {moment}", 2, lambda entry=entry, moment=moment: _at(entry, moment))
            for entry, moment in moments
        ]

    def _kill(self, target: LocalService) -> bool:
        running(target)
        target.kill()
        if target is self._rig.broker:
            self._outbox.again_after(self._rig.snapshot_at())
        self._rest()
        target.start()
        return True

    def _terminate(self, target: LocalService) -> bool:
        running(target)
        target.stop()
        self._rest()
        target.start()
        return True

    def _freeze(self, target: LocalService) -> bool:
        process = psutil.Process(running(target).pid)
        frozen = [process, *process.children(recursive=True)]
        _signal(frozen, signal.SIGSTOP)
        time.sleep(self._chance.uniform(0.1, LONGEST_STOP))
        _signal(frozen, signal.SIGCONT)
        return True

    def _rest(self) -> None:
        """How long it stays away."""
        time.sleep(self._chance.choice((0.0, 0.2, 1.0)))


def _at(entry: Entry, moment: str) -> bool:
    """Have a process of ours die at a moment, and start it again."""
    address = running(entry)
    entry.arm(moment)
    deadline = time.monotonic() + MOMENT_PATIENCE
    while time.monotonic() < deadline and entry.address() == address and (entry.directory / "moment").exists():
        time.sleep(0.02)
    reached = entry.disarm()
    if reached and moment != "unanswered":
        while entry.address() is not None:
            time.sleep(0.02)
    entry.start()
    return reached


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
