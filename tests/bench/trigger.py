"""From an MQTT notice to the first line of the flow, against `run_deployment` and a runner that polls.

Ours is the whole trigger: the robot is asked what has changed before the flow is started.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from uuid import uuid4

from prefect.deployments import run_deployment
from prefect.settings import temporary_settings

from tests.bench.by_hand import NAME
from tests.bench.figure import Figure, figure, in_turns
from tests.bench.lab import Lab, a_lab
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.fixtures.prefect import at, variables

AGAINST = "run_deployment called by hand, a runner that looks every second"


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """The medians of each round."""
    runner = {**variables(services.prefect), "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    async with a_lab(services) as lab:
        with (
            services.child("by_hand", **runner) as child,
            temporary_settings(at(services.prefect)),
        ):
            await services.ready(child)
            await _by_hand(services.directory)  # the runner is up once this one has run
            ours, reference = await in_turns(
                sizes.rounds,
                lambda: _triggered(lab, sizes.runs),
                lambda: _called(services.directory, sizes.runs),
            )
            child.terminate()
            await asyncio.to_thread(child.wait)
    yield figure("notice to flow", ours, "ms", reference=reference, against=AGAINST, target="≤ 0.25")


async def _triggered(lab: Lab, runs: int) -> float:
    played = [await lab.play() for _ in range(runs)]
    return median((run["began"] - run["ended"]) * 1000 for run in played)


async def _called(directory: Path, runs: int) -> float:
    return median([await _by_hand(directory) for _ in range(runs)])


async def _by_hand(directory: Path) -> float:
    """Milliseconds from the call until the flow's first line."""
    note, called = directory / f"{uuid4()}.note", time.time()
    await run_deployment(f"{NAME}/{NAME}", parameters={"note": str(note)}, timeout=0, as_subflow=False)
    async with asyncio.timeout(60):
        while not note.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    return (float(note.read_text(encoding="utf-8")) - called) * 1000
