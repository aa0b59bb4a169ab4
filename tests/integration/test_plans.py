"""The plans of the queries that are asked often: by an index, and in one partition for one day.

The tables hold thousands of rows over a week and have statistics, so the choice is the planner's own.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from infra.postgres import Connection
from tasks.load import change_marks, filtered, raw, reference, rejected, settle
from tasks.load.plan import LoadPlan
from tasks.look import made_from, origin, rejected_queries, status, trace
from tasks.look.origin import row_query
from tasks.tables.partitions import Partitions
from tasks.tables.tables import prepare_table
from tests.bench import reads
from tests.fixtures import catalogs
from tests.fixtures.aggregates import HOURLY, at
from tests.fixtures.commit import CONTRACT, a_batch, a_plan, message
from tests.fixtures.plans import Plan, plan_of
from tests.fixtures.recall import House, a_house
from tests.fixtures.rooms import ROOMS

DAYS = 7
# Seven days, 50 devices, a reading every ten minutes, in batches of 100; and an hourly mean of each.
_FILL_READINGS = """
INSERT INTO store.sensor_readings
    (device_id, "timestamp", temperature, processed_at, batch, sequence, input_hash)
SELECT 'd' || i % 50, '2026-11-14'::timestamptz + i / 50 * interval '10 min', 20, now(), i / 100, i % 100, i
FROM generate_series(0, 7 * 144 * 50 - 1) AS i;
"""
_FILL = (
    _FILL_READINGS
    + """
INSERT INTO store.sensor_readings_history
    (device_id, "timestamp", temperature, processed_at, batch, sequence, input_hash, replaced_by)
SELECT device_id, "timestamp", temperature, processed_at, batch, sequence, input_hash, batch + 1
FROM store.sensor_readings;

INSERT INTO store.sensor_readings_hourly (device_id, hour, readings, first_timestamp, last_timestamp,
    temperature_count, humidity_count, pressure_count, heat_index_count, dew_point_count, processed_at, batch)
SELECT 'd' || i % 50, hour, 6, hour, hour, 6, 0, 0, 0, 0, now(), 1
FROM generate_series(0, 7 * 24 * 50 - 1) AS i,
    LATERAL (SELECT '2026-11-14'::timestamptz + i / 50 * interval '1 h') AS t(hour);

INSERT INTO store.raw_batches
SELECT i, 'mqtt:bench', now(), now(), 100, 0, NULL, '', '' FROM generate_series(1, 5000) AS i;

INSERT INTO store.ledger (batch, dataset, received_at, received_until, processed_at, read, accepted, rejected,
    duplicates, filtered, way, transformation_id, writer, first_entry, last_entry, chain_head, position_id,
    raw_digest)
SELECT i, 'mqtt:' || i % 5, now(), now(), now() - i * interval '10 s',
    1 + (i % 500 = 0)::int, 1, 0, 0, (i % 500 = 0)::int, 'fast', 'x@0', i, i, i, '', 'p' || i, ''
FROM generate_series(1, 5000) AS i;

INSERT INTO store.rejected (identity, batch, sequence, dataset, location, stage, rules, error_type, message,
    contract, rejected_at, resolved_by, may_pass)
SELECT sha256(i::text::bytea), i / 10, i % 10, 'mqtt:' || i % 5, 'topic' || i % 1000, 'contract',
    CASE WHEN i % 100 = 0 THEN ARRAY['timestamp.furthest'] ELSE ARRAY['temperature.range'] END, 'E', 'm', 1,
    now() - i * interval '1 s', CASE WHEN i % 20 > 0 THEN 1 END, i % 100 = 0
FROM generate_series(1, 20000) AS i;

INSERT INTO store.filtered (identity, batch, sequence)
SELECT sha256(i::text::bytea), i / 10, i % 10 FROM generate_series(1, 20000) AS i;

INSERT INTO store.change_marks (reader, table_name, bucket, batch)
SELECT 'sensor_readings_hourly', 'sensor_readings', '2026-11-14'::timestamptz + i % 168 * interval '1 h', i
FROM generate_series(1, 20000) AS i;

INSERT INTO store.sensor_readings_quarantine
SELECT device_id, "timestamp", batch + 1 FROM store.sensor_readings WHERE sequence < 10;

INSERT INTO store.lineage_writers (application) SELECT 'listen' FROM generate_series(1, 5000);

INSERT INTO store.recalls (act, kind, selection, reason, by_whom, run_id, at)
SELECT i, 'quarantine', '{}', 'r', 'ada', gen_random_uuid(), now() FROM generate_series(1, 5000) AS i;
"""
)


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[Connection]:
    async with a_house(postgres_dsn) as house:
        days = pl.Series([at(0) - timedelta(days=day) for day in range(DAYS)])
        for contract in (CONTRACT, HOURLY.contract):
            await Partitions(house.way.pool).ensure(contract, days)
        await house.connection.execute(_FILL)
        await house.connection.execute("VACUUM ANALYZE")
        yield house.connection


DAY = "sensor_readings_20261120"
"""The partition of the day that is asked about."""


async def test_readings_of_a_device_are_looked_up_in_the_partitions_of_their_days(
    connection: Connection,
) -> None:
    hour = await plan_of(connection, reads.LAST_HOUR, "d1", at(0), at(1))
    assert looks_up(hour, f"{DAY}_pkey", "sensor_readings_quarantine_pkey")
    days = await plan_of(connection, reads.LAST_HOUR, "d1", at(-24), at(24))
    before = "sensor_readings_20261119_pkey"
    assert looks_up(days, before, f"{DAY}_pkey", "sensor_readings_quarantine_pkey")
    month = await plan_of(connection, reads.HOURLY_MEANS, "d1", at(-24 * 6), at(24))
    assert looks_up(month, "sensor_readings_hourly_20261101_pkey")


async def test_every_step_of_a_trace_is_a_look_up(connection: Connection) -> None:
    key = "d1", at(1)
    steps = [
        (f"{DAY}_pkey", row_query(CONTRACT), key),
        ("sensor_readings_history_pkey", row_query(CONTRACT, "sensor_readings_history"), key),
        ("change_marks_bucket", change_marks._PENDING, ("sensor_readings_hourly", at(1), "sensor_readings")),
    ]
    for index, query, values in steps:
        assert looks_up(await plan_of(connection, query, *values), index), query
    message = await plan_of(connection, raw._READ, 7)
    assert looks_up(message, "raw_batches_pkey", "ledger_pkey")
    commit = await plan_of(connection, origin._COMMIT, 7)
    assert looks_up(commit, "ledger_pkey", "lineage_writers_pkey")
    quarantine = trace._QUARANTINE.format(found=row_query(CONTRACT, "sensor_readings_quarantine"))
    act = await plan_of(connection, quarantine, *key)
    assert looks_up(act, "sensor_readings_quarantine_pkey", "recalls_pkey")
    rows = made_from.rows_query(HOURLY.contract, CONTRACT)
    hour = await plan_of(connection, f"SELECT count(*) {rows}", at(1), at(2), "d1")
    assert looks_up(hour, f"{DAY}_pkey", "sensor_readings_quarantine_pkey")


async def test_what_a_commit_asks_of_earlier_ones_is_a_look_up(connection: Connection) -> None:
    identities, places = [b"\0" * 32, b"\1" * 32], ["topic1", "topic5"]
    for rejected_as in (rejected.ANYTHING, rejected.PASSING):
        assert looks_up(await plan_of(connection, rejected._KNOWN % rejected_as, identities), "rejected_pkey")
    with_look_ups = rejected.passing(looking_up(a_plan()))
    assert with_look_ups != rejected.PASSING
    for rejected_as, index in (
        (rejected.PASSING, "rejected_passing"),
        (rejected.ANYTHING, "rejected_location"),
        (with_look_ups, "rejected_location"),
    ):
        suspect = await plan_of(connection, settle._AT_LOCATIONS % rejected_as, "mqtt:1", places)
        assert looks_up(suspect, index)
        for dataset in ("mqtt:1", "mqtt:none"):
            assert looks_up(await plan_of(connection, settle._ANYWHERE % rejected_as, dataset), index)
    assert looks_up(await plan_of(connection, filtered._KNOWN, identities), "filtered_pkey")
    for dataset in ("mqtt:0", "mqtt:none"):
        assert looks_up(await plan_of(connection, filtered._ANY, dataset), "ledger_filtered")


def looking_up(plan: LoadPlan) -> LoadPlan:
    """With a look-up that sets a column."""
    return replace(plan, deciding={"floor": {"postgres:rooms"}})


_FILL_ROOMS = """
INSERT INTO store.rooms (room, floor, processed_at, batch, sequence, input_hash, observed_at)
SELECT i, i % 9, now(), i / 100, i % 100, i, now() FROM generate_series(1, 20000) AS i;
INSERT INTO store.rooms_history
    (room, floor, processed_at, batch, sequence, input_hash, observed_at, replaced_by)
SELECT room, floor, processed_at, batch, sequence, input_hash, observed_at, batch + 1 FROM store.rooms;
INSERT INTO store.quarantine (act, table_name, key, batch, released)
SELECT i, CASE WHEN i % 50 > 0 THEN 'sensor_readings' ELSE 'rooms' END, i::text, 1, false
FROM generate_series(1, 5000) AS i;
"""


async def test_whether_a_reference_table_has_changed_is_a_look_up(
    connection: Connection, tmp_path: Path
) -> None:
    catalogs.written(tmp_path / "rooms" / "pipeline.yaml", ROOMS)
    contract = catalogs.read(tmp_path).contracts["rooms"]
    await prepare_table(connection, contract)
    await connection.execute(_FILL_ROOMS)
    await connection.execute("VACUUM ANALYZE")
    last = reference._LAST.format(**reference._names(contract))
    plan = await plan_of(connection, last, "rooms")
    # Of two indexes the last entry, which has no condition; a table that is read would be named.
    assert (plan.indexes, plan.whole) == ({"quarantine_of_table"}, {"rooms_batch", "rooms_history_until"})


@pytest.mark.parametrize("stored", ["the same", "another value"])
async def test_what_is_delivered_again_is_looked_up_however_much_is_stored(
    postgres_dsn: str, stored: str
) -> None:
    """Of 2,000 rows Postgres would read the whole table."""
    change = {} if stored == "the same" else {"temperature": 21.0}
    async with a_house(postgres_dsn) as house:
        batch = a_batch(*(message(f"d{n % 50}", n // 50) for n in range(2_000)))
        again = a_batch(*(message(f"d{n % 50}", n // 50, **change) for n in range(2_000)), may_repeat=True)
        await house.way.take(batch)
        days = pl.Series([at(0) - timedelta(days=day) for day in range(DAYS)])
        await Partitions(house.way.pool).ensure(CONTRACT, days)
        await house.connection.execute(_FILL_READINGS)
        await house.connection.execute("VACUUM ANALYZE")
        before = await _read_from_end_to_end(house)
        receipt = await house.way.take(again)
        assert (receipt.way, receipt.accepted["sensor_readings"]) == ("staging", 0)
        assert await _read_from_end_to_end(house) == before


async def _read_from_end_to_end(house: House) -> int:
    """How often a partition of readings that holds any was."""
    await asyncio.sleep(1.1)  # a connection tells what it did at the end of a transaction, once a second
    await house.way.take(a_batch())
    found: int = await house.connection.fetchval(
        "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables "
        "WHERE relname ~ '^sensor_readings_2' AND n_live_tup > 0"
    )
    return found


async def test_open_rejected_records_are_found_however_many_were_resolved(connection: Connection) -> None:
    """19 of 20 are resolved; the index holds the open ones alone."""
    chosen = "mqtt:1", None, None, None, False
    of_one = await plan_of(connection, rejected_queries._LIST, *chosen, 20)
    assert looks_up(of_one, "rejected_open")
    of_all = await plan_of(connection, status._OPEN)
    assert (of_all.indexes, of_all.whole) == ({"ledger_pkey"}, {"rejected_waiting"})
    assert looks_up(await plan_of(connection, rejected_queries._RULES, 7), "rejected_batch")
    assert looks_up(await plan_of(connection, rejected_queries._FIND, "1a2b3c"), "rejected_pkey")


async def test_a_refresh_finds_its_marks_and_reads_one_day(connection: Connection) -> None:
    reader = "sensor_readings_hourly"
    for query, values in ((change_marks._WAITING, (at(0), 48)), (change_marks._TAKE, ([at(0), at(1)],))):
        assert looks_up(await plan_of(connection, query, reader, *values), "change_marks_bucket"), query
    hour = await plan_of(connection, HOURLY.sql, at(1), at(2))
    assert {name for name in hour.tables if name != "sensor_readings_quarantine"} == {DAY}


async def test_status_looks_up_datasets_and_the_last_hour(connection: Connection) -> None:
    """`test_relay.py` has the plan of what the relay is behind."""
    plan = await plan_of(connection, status._DATASETS)
    assert looks_up(plan, "ledger_brought", "ledger_processed"), plan


def looks_up(plan: Plan, *indexes: str) -> bool:
    """Whether it looks something up in these indexes, and reads nothing from end to end."""
    return (plan.indexes, plan.whole) == (set(indexes), set())
