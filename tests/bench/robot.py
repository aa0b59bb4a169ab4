"""From a robot's notice that a run has ended to the experiment stored and verified, by stage."""

from collections.abc import AsyncIterator, Mapping
from itertools import pairwise

from tests.bench.figure import Figure, figure, percentile
from tests.bench.lab import a_lab
from tests.bench.services import Services
from tests.bench.sizes import Sizes

STAGES = ("ended", "collect", "process", "store", "verify")
USUAL = {"collect": "1 minute", "process": "2 minutes", "store": "1 minute", "verify": "1 minute"}


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """p95 of each stage and of all; a run counts from its end on the robot, the notice comes after that."""
    async with a_lab(services) as lab:
        rounds = [[await lab.play() for _ in range(sizes.runs)] for _ in range(sizes.rounds)]
    for since, until in pairwise(STAGES):
        ours = [_p95(played, since, until) for played in rounds]
        yield figure(f"robot, {until}, p95", ours, "ms", against=f"usual: {USUAL[until]}")
    ours = [_p95(played, "ended", "verify") for played in rounds]
    yield figure("robot, notice to verified, p95", ours, "ms", target="≤ 3,000 ms")


def _p95(played: list[Mapping[str, float]], since: str, until: str) -> float:
    return percentile(((run[until] - run[since]) * 1000 for run in played), 0.95)
