"""What a trace costs: `python -m tests.bench.columns` prints the median of all written plans.

The plan alone is read, so the size of the data must not matter: both are measured.
"""

import statistics
import time

import polars as pl

from lineage.columns import named, trace
from tests.unit.columns.data import frames
from tests.unit.columns.plans import PLANS

ROUNDS = 15


def main() -> None:
    for rows in (1_000, 1_000_000):
        data = {name: _repeated(frame, rows) for name, frame in frames().items()}
        u, v = (named(data[name].lazy(), name) for name in ("u", "v"))
        costs = sorted(_cost(plan.build(u, v)) for plan in PLANS.values())
        median, p95 = statistics.median(costs), costs[len(costs) * 95 // 100]
        print(f"{rows:>9,} rows · {len(costs)} plans · median {median:.0f} µs · p95 {p95:.0f} µs")


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


if __name__ == "__main__":
    main()
