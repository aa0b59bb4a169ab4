"""What lineage costs: the same file, taken with lineage and without, by a listener patched for it."""

from collections.abc import AsyncIterator

from tests.bench.figure import Figure, figure, in_turns
from tests.bench.files import dropped
from tests.bench.readings import readings
from tests.bench.services import Services
from tests.bench.sizes import Sizes


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """Time with everything on, per row, against the time without lineage, and without any proof of it too."""
    csv = services.directory / "readings.csv"
    readings(sizes.rows).write_csv(csv, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")

    async def micros(*without: str) -> float:
        options = ("--without", *without) if without else ()
        return 1e6 / await dropped(services, csv, sizes.rows, *options)

    on, no_lineage, no_proof = await in_turns(
        sizes.rounds, micros, lambda: micros("lineage"), lambda: micros("lineage", "proof")
    )
    yield figure("cost of lineage", on, "µs/row", reference=no_lineage, against="no lineage", target="≤ 1.03")
    yield figure(
        "cost of lineage and proof",
        on,
        "µs/row",
        reference=no_proof,
        against="no lineage, no message digests and no sums of values",
    )
