"""kill -9, SIGTERM and SIGSTOP of everything that runs, at any time and at the worst."""

import os
import signal
import time
from contextlib import suppress
from functools import partial

import psutil

from infra.local.service import LocalService
from tests.chaos.entry import LISTEN, RELAY, SERVE, UNANSWERED
from tests.chaos.ground import Fault, Ground
from tests.chaos.process import Entry
from tests.chaos.rig import running

LONGEST_STOP = 2.0  # seconds
MOMENT_PATIENCE = 15.0  # seconds in which a moment is to be reached


def of_services(ground: Ground) -> list[Fault]:
    """Each of everything that runs."""
    ours = {entry.name for entry in ground.rig.ours.all}
    acts = ((kill, 2, True), (terminate, 1, True), (freeze, 1, False))
    return [
        Fault(
            f"{act.__name__} {target.name}",
            weight,
            partial(act, ground, target),
            ends and target.name in ours,
        )
        for target in ground.rig.targets
        for act, weight, ends in acts
    ]


def of_moments(ground: Ground) -> list[Fault]:
    """Each of the worst moments of each of ours."""
    ours = ground.rig.ours
    moments = [(entry, moment) for group in ours.listeners.values() for entry in group for moment in LISTEN]
    moments += [(ours.relay, moment) for moment in RELAY]
    moments += [(ours.serve, moment) for moment in SERVE if ours.serve]
    return [
        Fault(f"{entry.name} at {moment}", 1, partial(at, ground, entry, moment), moment != UNANSWERED)
        for entry, moment in moments
        if entry
    ]


def kill(ground: Ground, target: LocalService) -> bool:
    """As a power cut would."""
    ground.wait_for(target)
    ground.kill(target)
    if target is ground.rig.broker:
        ground.outbox.again_after(ground.rig.snapshot_at())
    ground.start(target)
    return True


def terminate(ground: Ground, target: LocalService) -> bool:
    """In good order."""
    ground.wait_for(target)
    target.stop()
    ground.start(target)
    return True


def freeze(ground: Ground, target: LocalService) -> bool:
    """It answers nothing for a while, and goes on."""
    ground.wait_for(target)
    process = psutil.Process(running(target).pid)
    frozen = [process, *process.children(recursive=True)]
    _signal(frozen, signal.SIGSTOP)
    time.sleep(ground.chance.uniform(0.1, LONGEST_STOP))
    _signal(frozen, signal.SIGCONT)
    return True


def at(ground: Ground, entry: Entry, moment: str) -> bool:
    """Have a process of ours die at a moment, or, where that does not come in time, whatever it is at."""
    ground.wait_for(entry)
    entry.arm(moment)
    deadline = time.monotonic() + MOMENT_PATIENCE
    while entry.armed and time.monotonic() < deadline:
        time.sleep(0.02)
    reached = entry.disarm()
    if not reached and not ground.gentle:
        ground.kill(entry)
        ground.start(entry)
    elif reached and moment != UNANSWERED:
        ground.died(entry)
        ground.start(entry)
    return reached


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
