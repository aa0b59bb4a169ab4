"""Readings that are in the table already, made by SQL."""

from datetime import datetime, timedelta

from infra.postgres import Connection
from tests.bench.readings import DEVICES

BATCH = 20_000  # rows of a batch
_AT_ONCE = 500_000  # rows of an INSERT
_ROWS = """
INSERT INTO store.sensor_readings
    (device_id, "timestamp", temperature, humidity, processed_at, batch, sequence, input_hash)
SELECT 'device-' || lpad((i % $1)::text, 4, '0'), $2::timestamptz + (i / $1) * $3::interval,
    i % 40, i % 100, $2, i / $4 + 1, i % $4, i
FROM generate_series($5::bigint, $6::bigint - 1) AS i
"""


async def insert_readings(
    connection: Connection, rows: int, since: datetime, span: timedelta, batch: int = BATCH
) -> None:
    """`rows` readings of the devices, spread evenly over the span; its partitions are there."""
    step = span / max(1, -(-rows // DEVICES))
    for first in range(0, rows, _AT_ONCE):
        await connection.execute(_ROWS, DEVICES, since, step, batch, first, min(rows, first + _AT_ONCE))
