"""How long a trace takes in a large table: p50 and p95 of the look-ups, the paged messages aside.

`HEADWATER_BENCH_ROWS` rows (1 million when it is not set) in batches of 1,000 messages, made by SQL.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from time import perf_counter

import polars as pl

from infra.postgres import open_pool
from tasks.batch import MESSAGE_SCHEMA
from tasks.load.aggregate import load_aggregates
from tasks.load.partitions import Partitions
from tasks.load.raw import pack
from tasks.load.tables import prepare_table
from tasks.load.trace import trace, trace_aggregate
from tests.fixtures.commit import CONTRACT, message

ROWS = int(os.environ.get("HEADWATER_BENCH_ROWS", "1000000"))
START = datetime(2026, 11, 1, tzinfo=UTC)
BATCH, DEVICES, DAYS = 1_000, 100, 10
STEP = timedelta(days=DAYS) / (ROWS / DEVICES)
"""Between two readings of one device."""
HOURLY = load_aggregates()[0]
TRACES, LIMIT = 300, 0.050  # seconds

_ROWS = """
INSERT INTO store.sensor_readings
    (device_id, "timestamp", temperature, humidity, processed_at, batch, sequence, input_hash)
SELECT 'd' || i % $1, $2::timestamptz + (i / $1) * $3::interval, i % 40, i % 100, $2, i / $4 + 1, i % $4, i
FROM generate_series($5::bigint, $6::bigint - 1) AS i
"""
_BATCHES = """
WITH numbers AS (SELECT generate_series(1, $1::bigint) AS n), raw AS (
    INSERT INTO store.raw_batches SELECT n, 'mqtt:bench', $2, $2, $3, 0, $4, '' FROM numbers
)
INSERT INTO store.ledger (batch, dataset, received_at, received_until, processed_at, read, accepted, rejected,
    duplicates, filtered, way, transformation_id, writer, first_entry, last_entry, chain_head)
SELECT n, 'mqtt:bench', $2, $2, $2, $3, $3, 0, 0, 0, 'fast', 'readings@0', 1, n, n, '' FROM numbers
"""


def test_a_trace_takes_less_than_its_limit(postgres_dsn: str) -> None:
    asyncio.run(_measure(postgres_dsn))


async def _measure(dsn: str) -> None:
    async with open_pool(dsn, application="bench", statement_timeout_ms=0) as pool:
        async with pool.acquire() as connection:
            for contract in (CONTRACT, HOURLY.contract):
                await prepare_table(connection, contract)
        days = pl.Series([START + timedelta(days=day) for day in range(DAYS + 1)])
        for contract in (CONTRACT, HOURLY.contract):
            await Partitions(pool).ensure(contract, days)
        messages = pl.DataFrame([message("d", 0)] * BATCH, schema=MESSAGE_SCHEMA, orient="row")
        await pool.execute(_BATCHES, ROWS // BATCH, START, BATCH, pack(messages))
        for first in range(0, ROWS, 500_000):
            last = min(ROWS, first + 500_000)
            await pool.execute(_ROWS, DEVICES, START, STEP, BATCH, first, last)
        columns = ", ".join(HOURLY.contract.names)
        for hour in (START + timedelta(hours=n) for n in range(DAYS * 24)):
            await pool.execute(
                f"INSERT INTO store.sensor_readings_hourly ({columns}, processed_at, batch) "
                f"SELECT *, now(), 1 FROM ({HOURLY.sql}) AS computed",
                hour,
                hour + timedelta(hours=1),
            )
        await pool.execute("ANALYZE")

        async def one_value() -> None:
            number = random.randrange(ROWS)  # noqa: S311 - no secret
            key = {"device_id": f"d{number % DEVICES}", "timestamp": START + number // DEVICES * STEP}
            await trace(pool, CONTRACT, key)

        async def one_hour() -> None:
            hour = START + timedelta(hours=random.randrange(DAYS * 24))  # noqa: S311
            key = {"device_id": f"d{random.randrange(DEVICES)}", "hour": hour}  # noqa: S311
            await trace_aggregate(pool, HOURLY, [CONTRACT], key, 1_000_000)  # a page past the last

        for name, work in (("value", one_value), ("aggregate", one_hour)):
            p50, p95 = await _timed(work)
            print(f"\ntrace of {name}, {ROWS:,} rows: p50 {p50 * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms")
            assert p95 < LIMIT


async def _timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    taken = []
    for _ in range(TRACES):
        start = perf_counter()
        await work()
        taken.append(perf_counter() - start)
    cuts = quantiles(taken, n=20)
    return cuts[9], cuts[18]
