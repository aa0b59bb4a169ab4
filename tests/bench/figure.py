"""A figure: ours against a reference measured in the same run, in paired rounds that take turns."""

import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

Measure = Callable[[], Awaitable[float]]
"""One round's value, in the figure's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the report; the fields are those of `.headwater/bench.json`.

    `ours` and `reference` are medians over the rounds; `ratio` is the median of the rounds' own ratios and
    `spread` their lowest and highest. Without a reference (`None`) there is no ratio and `spread` is of ours.
    """

    name: str
    ours: float
    reference: float | None
    ratio: float | None
    unit: str
    rounds: int
    spread: tuple[float, float]
    against: str  # what the reference is
    target: str  # what is to be reached, "" if nothing is said
    machine: str

    def line(self) -> str:
        """For a person."""
        low, high = (_short(value) for value in self.spread)
        goal = f" · to reach {self.target}" if self.target else ""
        if self.reference is None or self.ratio is None:
            return (
                f"{self.name}: {_short(self.ours)} {self.unit} [{low} to {high}], {self.rounds} rounds{goal}"
            )
        return (
            f"{self.name}: {_short(self.ratio)} times [{low} to {high}], {self.rounds} rounds: "
            f"{_short(self.ours)} against {_short(self.reference)} {self.unit} of {self.against}{goal}"
        )


def figure(
    name: str,
    ours: Sequence[float],
    unit: str,
    *,
    reference: Sequence[float] | None = None,
    against: str = "",
    target: str = "",
) -> Figure:
    """The figure of values measured round by round, ours and the reference's in the same order."""
    ratios = [o / r for o, r in zip(ours, reference, strict=True)] if reference is not None else None
    spread_of = ratios if ratios is not None else ours
    return Figure(
        name=name,
        ours=statistics.median(ours),
        reference=None if reference is None else statistics.median(reference),
        ratio=None if ratios is None else statistics.median(ratios),
        unit=unit,
        rounds=len(ours),
        spread=(min(spread_of), max(spread_of)),
        against=against,
        target=target,
        machine=machine(),
    )


async def in_turns(rounds: int, *measures: Measure) -> list[list[float]]:
    """The values of each measure, `rounds` of them; who goes first changes with the round."""
    values: list[list[float]] = [[] for _ in measures]
    for turn in range(rounds):
        order = list(enumerate(measures))
        for place, measure in order if turn % 2 == 0 else reversed(order):
            values[place].append(await measure())
    return values


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> str:
    """What this was measured on: processor, cores we may use, memory, system and how busy it was."""
    gigabytes = psutil.virtual_memory().total / 1e9
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = psutil.getloadavg()[0]
    return f"{_processor()}, {cores} cores, {gigabytes:.0f} GB, {platform.system()}, load {load:.1f}"


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
