"""Reads of a large table, against the same reads of one a tenth of its size: they must not grow with it."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from time import perf_counter

from infra.postgres import Connection, connect
from tasks.tables.tables import prepare_table
from tests.bench.figure import Figure, figure, in_turns, percentile
from tests.bench.readings import DEVICES
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.bench.stored import insert_readings
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import CONTRACT

READS = 100  # of a kind in a round
DAYS = 30
START = datetime(2026, 10, 1, tzinfo=UTC)
HOURLY = SHIPPED.derived["sensor_readings_hourly"]

LAST_HOUR = """
SELECT * FROM sensor_readings WHERE device_id = $1 AND "timestamp" >= $2 AND "timestamp" < $3
ORDER BY "timestamp"
"""
HOURLY_MEANS = (
    "SELECT * FROM sensor_readings_hourly WHERE device_id = $1 AND hour >= $2 AND hour < $3 ORDER BY hour"
)


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """p95 of a device's last hour, and of its hourly means of a month, in milliseconds."""
    async with services.database() as large, services.database() as small:
        connections = [
            await connect(dsn, application="bench", statement_timeout_ms=0) for dsn in (large, small)
        ]
        for connection, rows in zip(connections, (sizes.stored, sizes.stored // 10), strict=True):
            await _fill(connection, rows)
        end = START + timedelta(days=DAYS)
        for name, query, span in (
            ("last hour of a device", LAST_HOUR, timedelta(hours=1)),
            ("hourly means of a month", HOURLY_MEANS, timedelta(days=DAYS)),
        ):
            ours, reference = await in_turns(
                sizes.rounds,
                *(lambda c=c, q=query, s=span: _p95(c, q, end - s, end) for c in connections),
            )
            against = f"{sizes.stored // 10:,} rows instead of {sizes.stored:,}"
            title = f"read {name}, p95"
            yield figure(title, ours, "ms", reference=reference, against=against, target="≤ 20 ms, no slower")
        for connection in connections:
            await connection.close()


async def _fill(connection: Connection, rows: int) -> None:
    """`rows` readings over the month's days, and their hourly means."""
    await prepare_table(connection, HOURLY.contract)
    for table in (CONTRACT.table, HOURLY.contract.table):
        for day in (START + timedelta(days=number) for number in range(DAYS)):
            await connection.execute(
                f"CREATE TABLE store.{table}_b{day:%m%d} PARTITION OF store.{table} "
                f"FOR VALUES FROM ('{day:%Y-%m-%d}') TO ('{day + timedelta(days=1):%Y-%m-%d}')"
            )
    await insert_readings(connection, rows, START, timedelta(days=DAYS))
    names = ", ".join(HOURLY.contract.names)
    await connection.execute(
        f"INSERT INTO store.{HOURLY.contract.table} ({names}, processed_at, batch) "
        f"SELECT *, now(), 1 FROM ({HOURLY.sql}) AS computed",
        START,
        START + timedelta(days=DAYS),
    )
    await connection.execute("VACUUM ANALYZE")


async def _p95(connection: Connection, query: str, since: datetime, until: datetime) -> float:
    taken = []
    for _ in range(READS):
        device = f"device-{random.randrange(DEVICES):04}"  # noqa: S311 - no secret
        start = perf_counter()
        await connection.fetch(query, device, since, until)
        taken.append((perf_counter() - start) * 1000)
    return percentile(taken, 0.95)
