"""How long a trace takes in a large table: p95 of the look-ups, the paged messages aside."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from time import perf_counter

import polars as pl

from infra.postgres import Pool, open_pool
from tasks.batch import MESSAGE_SCHEMA
from tasks.load.raw import pack
from tasks.look.trace import trace, trace_aggregate
from tasks.tables.partitions import Partitions
from tasks.tables.tables import prepare_table
from tests.bench.figure import Figure, figure, percentile
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import CONTRACT, message

START = datetime(2026, 11, 1, tzinfo=UTC)
BATCH, DEVICES, DAYS = 1_000, 100, 10
AT_ONCE = 500_000  # rows of an INSERT
HOURLY = SHIPPED.derived["sensor_readings_hourly"]
TRACES = 300  # of a round

_ROWS = """
INSERT INTO store.sensor_readings
    (device_id, "timestamp", temperature, humidity, processed_at, batch, sequence, input_hash)
SELECT 'd' || i % $1, $2::timestamptz + (i / $1) * $3::interval, i % 40, i % 100, $2, i / $4 + 1, i % $4, i
FROM generate_series($5::bigint, $6::bigint - 1) AS i
"""
_BATCHES = """
WITH numbers AS (SELECT generate_series(1, $1::bigint) AS n), raw AS (
    INSERT INTO store.raw_batches SELECT n, 'mqtt:bench', $2, $2, $3, 0, NULL, $4, '' FROM numbers
)
INSERT INTO store.ledger (batch, dataset, received_at, received_until, processed_at, read, accepted, rejected,
    duplicates, filtered, way, transformation_id, writer, first_entry, last_entry, chain_head)
SELECT n, 'mqtt:bench', $2, $2, $2, $3, $3, 0, 0, 0, 'fast', 'sensors@0', 1, n, n, '' FROM numbers
"""


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """p95 in milliseconds of tracing a value and an aggregate."""
    rows, step = sizes.stored, timedelta(days=DAYS) / (sizes.stored / DEVICES)
    async with (
        services.database() as dsn,
        open_pool(dsn, application="bench", statement_timeout_ms=0) as pool,
    ):
        await _fill(pool, rows, step)

        async def one_value() -> None:
            number = random.randrange(rows)  # noqa: S311 - no secret
            key = {"device_id": f"d{number % DEVICES}", "timestamp": START + number // DEVICES * step}
            await trace(pool, CONTRACT, key)

        async def one_hour() -> None:
            hour = START + timedelta(hours=random.randrange(DAYS * 24))  # noqa: S311 - no secret
            key = {"device_id": f"d{random.randrange(DEVICES)}", "hour": hour}  # noqa: S311 - no secret
            await trace_aggregate(pool, HOURLY, [CONTRACT], key, 1_000_000)  # a page past the last

        for name, work in (("value", one_value), ("aggregate", one_hour)):
            found = [await _p95(work) for _ in range(sizes.rounds)]
            yield figure(f"trace of one {name}, p95, {rows:,} rows", found, "ms", target="≤ 50 ms")


async def _fill(pool: Pool, rows: int, step: timedelta) -> None:
    """`rows` readings in batches of 1,000 messages, and their hourly means, made by SQL."""
    async with pool.acquire() as connection:
        await prepare_table(connection, HOURLY.contract)
    days = pl.Series([START + timedelta(days=day) for day in range(DAYS + 1)])
    for contract in (CONTRACT, HOURLY.contract):
        await Partitions(pool).ensure(contract, days)
    messages = pl.DataFrame([message("d", 0)] * BATCH, schema=MESSAGE_SCHEMA, orient="row")
    await pool.execute(_BATCHES, rows // BATCH, START, BATCH, pack(messages))
    for first in range(0, rows, AT_ONCE):
        await pool.execute(_ROWS, DEVICES, START, step, BATCH, first, min(rows, first + AT_ONCE))
    columns = ", ".join(HOURLY.contract.names)
    for hour in (START + timedelta(hours=n) for n in range(DAYS * 24)):
        await pool.execute(
            f"INSERT INTO store.sensor_readings_hourly ({columns}, processed_at, batch) "
            f"SELECT *, now(), 1 FROM ({HOURLY.sql}) AS computed",
            hour,
            hour + timedelta(hours=1),
        )
    await pool.execute("ANALYZE")


async def _p95(work: Callable[[], Awaitable[None]]) -> float:
    taken = []
    for _ in range(TRACES):
        start = perf_counter()
        await work()
        taken.append((perf_counter() - start) * 1000)
    return percentile(taken, 0.95)
