"""What it costs to tell which columns a plan's columns come from: the size of the data must not matter."""

import statistics
import time
from collections.abc import AsyncIterator

import polars as pl

from lineage.columns import named, trace
from tests.bench.figure import Figure, figure, in_turns
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.unit.columns.data import frames
from tests.unit.columns.plans import PLANS

ROUNDS = 15  # of a plan
SMALL, LARGE = 1_000, 1_000_000


async def measure(_services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """The median of all plans over large data, against the same plans over small data."""
    large, small = await in_turns(sizes.rounds, lambda: _median(LARGE), lambda: _median(SMALL))
    yield figure(
        "trace of a plan's columns", large, "µs", reference=small, against=f"{SMALL:,} rows, not {LARGE:,}"
    )


async def _median(rows: int) -> float:
    data = {name: _repeated(frame, rows) for name, frame in frames().items()}
    u, v = (named(data[name].lazy(), name) for name in ("u", "v"))
    return statistics.median(_cost(plan.build(u, v)) for plan in PLANS.values())


def _repeated(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    return pl.concat([frame] * (rows // len(frame) + 1)).head(rows).rechunk()


def _cost(frame: pl.LazyFrame) -> float:
    """Microseconds of one trace, the median of a few."""
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        trace(frame)
        spent.append((time.perf_counter() - start) * 1e6)
    return statistics.median(spent)
