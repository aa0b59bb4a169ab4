"""The check of lost marks reads the log once, however many rows, marks and entries there are."""

import json
from typing import Any

import pytest

from infra.postgres import Connection
from lineage.proof import marks
from tasks.look.verify import stored_shapes
from tasks.tables.tables import prepare_table
from tests.fixtures.aggregates import prepared
from tests.fixtures.commit import CONTRACT

FIRST = 5_000
# 100,000 readings of 20,000 batches: the hours of the even ones are in the log, those of the odd ones wait.
STORED = """
CREATE TABLE store.readings_of_all_time PARTITION OF store.sensor_readings DEFAULT;
INSERT INTO store.sensor_readings (device_id, timestamp, processed_at, batch, sequence, input_hash)
SELECT 'd', '2026-11-01Z'::timestamptz + n * interval '10 s', now(), 1 + n / 5, n % 5, 0
FROM generate_series(0, 99999) AS n;
CREATE TEMP TABLE changed AS
SELECT DISTINCT batch, date_trunc('hour', timestamp, 'UTC') AS hour FROM store.sensor_readings;
INSERT INTO store.lineage_log (writer, number, batch, relationship_type, source_kind, source_key,
    source_facts, target_kind, target_key, target_facts, created_at, facts, hash)
SELECT 1, row_number() OVER (), 20001, 'FEEDS', 'Batch', 'postgres:sensor_readings#' || batch, '{}', 'Batch',
    'postgres:sensor_readings_hourly#' || to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24"Z"'), '{}',
    now(), '{}', ''
FROM changed WHERE batch % 2 = 0;
INSERT INTO store.change_marks (reader, table_name, bucket, batch)
SELECT 'sensor_readings_hourly', 'sensor_readings', hour, batch FROM changed WHERE batch % 2 = 1;
"""


@pytest.mark.parametrize("analyzed", [True, False])
async def test_a_hundred_thousand_rows_are_checked_in_one_pass_over_the_log(
    connection: Connection, analyzed: bool
) -> None:
    told = await made_ready(connection)
    if analyzed:
        await connection.execute("ANALYZE store.sensor_readings, store.lineage_log, store.change_marks")
    statement = f"EXPLAIN (ANALYZE, FORMAT json) {marks.lost(told)}"
    plan = json.loads(await connection.fetchval(statement, FIRST))[0]["Plan"]
    for table in ("lineage_log", "change_marks", "readings_of_all_time"):
        there = await connection.fetchval(f"SELECT count(*) FROM store.{table}")
        scans = [node for node in _nodes(plan) if node.get("Relation Name") == table]
        assert 0 < sum(map(_rows_read, scans)) <= there, table


async def test_exactly_the_hours_whose_mark_is_lost_are_told(connection: Connection) -> None:
    await made_ready(connection)
    lost = await connection.fetch(
        "DELETE FROM store.change_marks WHERE batch IN (4999, 5001, 17001) RETURNING batch, bucket"
    )
    shapes = await stored_shapes(connection)
    async with connection.transaction():
        found = [each async for each in marks.check_marks(connection, shapes, FIRST)]
    named = [
        f"batch {row['batch']}, hour {row['bucket']:%Y-%m-%dT%HZ}" for row in lost if row["batch"] >= FIRST
    ]
    assert len(named) >= 2
    assert sorted(each.split(": ")[0] for each in found) == sorted(f"sensor_readings, {one}" for one in named)


async def made_ready(connection: Connection) -> marks.Told:
    """What is stored, and the aggregate that is told of its changes."""
    await prepare_table(connection, CONTRACT)
    await prepared(connection)
    await connection.execute(STORED)
    shapes = await stored_shapes(connection)
    return marks.Told(shapes["sensor_readings_hourly"], shapes["sensor_readings"])


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


def _rows_read(scan: dict[str, Any]) -> float:
    read: float = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
    return read * scan["Actual Loops"]
