"""Derived tables in a user's folder, as docs/derived.md shows them: many of one table, and of one another."""

import asyncio
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from structlog.testing import capture_logs

from flows.acts.recall import Order, recalled, recalled_tables
from infra.local.addresses import Address
from infra.migrate import migrate
from lineage import naming, relay
from lineage.bucket import Bucket
from lineage.errors import ContractError
from lineage.fold import fold_next_day
from lineage.identifiers import quoted
from lineage.model import Run, batch_node, bucket_node
from lineage.projection import digest
from tasks.again.recall import Selection, conditions, scope_of
from tasks.again.reread import CurrentPipeline
from tasks.batch import RawBatch, Reference, Refined
from tasks.derived.aggregate import Aggregate, DerivedDefinition, Draft
from tasks.derived.mark_readers import PATIENCE, register
from tasks.derived.refresh import refresh
from tasks.load.store import Store
from tasks.look.row_key import read_key
from tasks.look.trace import trace_aggregate
from tasks.tables.tables import prepare_table
from tests.fixtures import recall
from tests.fixtures.aggregates import HOURLY, a_run, prepared, reading
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import Way, a_batch
from tests.fixtures.derived import DOC, Lab, day, lab_of
from tests.fixtures.headwater import COMMAND
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.postgres import a_connection
from tests.fixtures.proof import a_house
from tests.integration.test_aggregates import is_blocked

READINGS = naming.postgres("sensor_readings")
LAB = ("device_minutes", "device_months", "device_days")


@pytest.fixture
async def lab(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_house(postgres_dsn, graph_address) as house:
        yield lab_of(house, postgres_dsn, graph_address, tmp_path)


async def take(lab: Lab, *messages: tuple[str, bytes]) -> int:
    return (await lab.house.way.take(a_batch(*messages))).batch


def warm(device: str, moment: datetime, temperature: float) -> tuple[str, bytes]:
    return reading(device, moment, temperature=temperature)


async def marks(lab: Lab) -> dict[str, int]:
    query = "SELECT reader, count(*) FROM store.change_marks GROUP BY 1 ORDER BY 1"
    return {str(reader): int(str(count)) for reader, count in await lab.rows(query)}


async def proves(lab: Lab) -> None:
    assert await lab.differences() == ()
    for (batch,) in await lab.rows("SELECT batch FROM ledger WHERE way = 'refresh'"):
        await lab.verify(int(str(batch)))


async def test_those_of_the_page_are_made_proved_traced_and_told_as_it_says(lab: Lab) -> None:
    first = await take(lab, warm("probe-1", day(20, 8, 1), 20.0), warm("b", day(19), -3.0))
    second = await take(lab, warm("probe-1", day(20, 8, 2), 30.0), warm("b", day(20, 8, 2), 4.0))
    environment = {
        "HEADWATER_PIPELINES": str(lab.settings.pipelines[0]),
        "HEADWATER_POSTGRES_DSN": lab.house.way.store._dsn,
        "HEADWATER_HOME": str(lab.settings.home),
    }

    def said(*arguments: str) -> str:
        done = subprocess.run(
            [COMMAND, *arguments], env={**os.environ, **environment}, capture_output=True, check=True
        )
        return done.stdout.decode()

    lines = [
        line[2:] for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith("$ headwater")
    ]
    made = {name: one.buckets for name, one in (await lab.refresh()).items()}
    assert {name: made[name] for name in LAB} == {"device_minutes": 3, "device_months": 1, "device_days": 2}
    assert await lab.rows("SELECT * FROM device_months ORDER BY device_id") is not None
    columns = "device_id, month, temperature_min, temperature_max"
    assert await lab.rows(f"SELECT {columns} FROM device_months ORDER BY device_id") == [
        ("b", day(1), -3.0, 4.0),
        ("probe-1", day(1), 20.0, 30.0),
    ]
    assert await lab.rows("SELECT device_id, day, minutes, warmest FROM device_days ORDER BY 1, 2") == [
        ("b", day(19), 1, -3.0),
        ("b", day(20), 1, 4.0),
        ("probe-1", day(20), 2, 30.0),
    ]
    assert await lab.feeds("postgres:device_months#2026-11") == {f"{READINGS}#{n}" for n in (first, second)}
    assert await lab.feeds("postgres:device_days#2026-11-20") == {
        "postgres:device_minutes#2026-11-20T08:01Z",
        "postgres:device_minutes#2026-11-20T08:02Z",
    }
    told = said(*lines[1].split()[1:])
    assert told.startswith("warmest    30.0\n")
    assert "made from  2 rows of device_minutes\n" in told
    assert "row        device_id=probe-1,minute=2026-11-20T08:02:00+00:00\n" in told
    await proves(lab)
    assert await marks(lab) == {}


async def test_a_table_that_nothing_is_made_from_leaves_no_marks(lab: Lab) -> None:
    await take(lab, warm("a", day(20), 1.0))
    assert await marks(lab) == {}
    await prepared(lab.house.connection)
    assert await marks(lab) == {"sensor_readings_hourly": 1}  # it is filled from what is stored
    await take(lab, warm("a", day(20, 1), 1.0))
    assert await marks(lab) == {"sensor_readings_hourly": 2}


async def test_each_is_told_of_what_changed_and_takes_its_own_marks(lab: Lab) -> None:
    await lab.refresh()
    late = await take(lab, warm("a", day(20, 8, 1), 1.0), warm("a", day(20, 8, 7), 2.0))
    assert await marks(lab) == {"device_minutes": 2, "device_months": 1, "sensor_readings_hourly": 1}
    await refresh(lab.house.way.store, HOURLY, a_run())
    assert await marks(lab) == {"device_minutes": 2, "device_months": 1}
    await refresh(lab.house.way.store, lab.catalog.derived["device_minutes"], a_run())
    assert await marks(lab) == {"device_days": 1, "device_months": 1}  # a refresh is a commit
    await proves(lab)
    await lab.refresh()
    assert await marks(lab) == {}
    for target in ("device_months#2026-11", "sensor_readings_hourly#2026-11-20T08Z"):
        assert await lab.feeds(f"postgres:{target}") == {f"{READINGS}#{late}"}
    await take(lab, warm("a", day(20, 8, 7), 99.0))  # a conflict changes nothing
    assert {one.buckets for one in (await lab.refresh()).values()} == {0}
    await proves(lab)


async def test_a_new_one_is_made_from_every_batch_that_is_stored(lab: Lab) -> None:
    numbers = [
        await take(lab, warm(device, day(20, 8, minute), 1.0)) for minute, device in enumerate("abcabc")
    ]
    await recall.House(lab.house.way, lab.house.connection).act("quarantine", Selection(device="c"))
    made = await lab.refresh()
    assert made["device_minutes"].buckets == 6
    assert await lab.feeds("postgres:device_months#2026-11") == {f"{READINGS}#{each}" for each in numbers}
    for minute, number in enumerate(numbers):
        assert await lab.feeds(f"postgres:device_minutes#2026-11-20T08:{minute:02}Z") == {
            f"{READINGS}#{number}"
        }
    minutes = [f"postgres:device_minutes#2026-11-20T08:{minute:02}Z" for minute in range(6)]
    assert await lab.feeds("postgres:device_days#2026-11-20") == set(minutes)
    assert await lab.rows("SELECT device_id, minutes FROM device_days ORDER BY 1") == [("a", 2), ("b", 2)]
    await proves(lab)
    await recall.House(lab.house.way, lab.house.connection).act("release", Selection(device="c"))
    await lab.refresh()
    assert await lab.rows("SELECT device_id, minutes FROM device_days ORDER BY 1") == [
        ("a", 2),
        ("b", 2),
        ("c", 2),
    ]
    await proves(lab)


@asynccontextmanager
async def held_at(lab: Lab, statement: str, *values: object) -> AsyncIterator[None]:
    """Whoever comes to what this statement holds waits until the end of the block."""
    async with a_connection(lab.house.way.store._dsn) as blocker:
        holding = blocker.transaction()
        await holding.start()
        await blocker.execute(statement, *values)
        yield
        await holding.rollback()


@asynccontextmanager
async def another(lab: Lab, application: str) -> AsyncIterator[Store]:
    async with Store(lab.house.way.store._dsn, lab.house.way.pool, application=application) as store:
        yield store


async def registered(dsn: str, application: str, aggregate: Aggregate) -> None:
    async with a_connection(dsn) as connection:
        await connection.execute(f"SET application_name = 'headwater {application}'")
        await register(connection, aggregate)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.derived.mark_readers.PATIENCE", timedelta(seconds=60))


SUBJECT = "INSERT INTO store.subjects VALUES ('device', 'slow', 'postgres:sensor_readings')"
READER = "INSERT INTO store.mark_readers (reader, table_name, bucket) VALUES ($1, $2, 'hour')"


@pytest.mark.usefixtures("patient")
async def test_a_commit_that_is_open_when_a_reader_is_registered_is_not_lost(lab: Lab) -> None:
    """It has left its marks, and the reader was not among those there were."""
    await prepare_table(lab.house.connection, HOURLY.contract)
    await take(lab, warm("other", day(20), 1.0))
    async with another(lab, "held") as store:
        async with held_at(lab, SUBJECT):
            way = Way(store, lab.house.way.pool, lab.house.way.plan)
            slow = asyncio.create_task(way.take(a_batch(warm("slow", day(20, 1), 1.0))))
            await is_blocked(lab.house.way.pool, "held")
            dsn = lab.house.way.store._dsn
            registering = asyncio.create_task(registered(dsn, "registering", HOURLY))
            await is_blocked(lab.house.way.pool, "registering")
        receipt = await slow
        await registering
    query = "SELECT bucket FROM store.change_marks WHERE batch = $1"
    assert await lab.rows(query, receipt.batch) == [(day(20, 1),)]
    assert await lab.differences() == ()


@pytest.mark.usefixtures("patient")
async def test_a_commit_that_comes_while_a_reader_is_registered_finds_it(lab: Lab) -> None:
    await prepare_table(lab.house.connection, HOURLY.contract)
    await take(lab, warm("other", day(20), 1.0))
    async with another(lab, "later") as store:
        async with held_at(lab, READER, "sensor_readings_hourly", "sensor_readings"):
            dsn = lab.house.way.store._dsn
            registering = asyncio.create_task(registered(dsn, "registering", HOURLY))
            await is_blocked(lab.house.way.pool, "registering")
            way = Way(store, lab.house.way.pool, lab.house.way.plan)
            later = asyncio.create_task(way.take(a_batch(warm("later", day(20, 1), 1.0))))
            await is_blocked(lab.house.way.pool, "later")
        await registering
        receipt = await later
    query = "SELECT DISTINCT bucket FROM store.change_marks WHERE batch = $1"
    assert await lab.rows(query, receipt.batch) == [(day(20, 1),)]
    assert await lab.differences() == ()


@pytest.mark.usefixtures("patient")
async def test_a_refresh_that_comes_while_a_reader_of_its_table_is_registered_finds_it(lab: Lab) -> None:
    """Its snapshot is of after that, or it would mark for nobody."""
    minutes, days = lab.catalog.derived["device_minutes"], lab.catalog.derived["device_days"]
    await prepared(lab.house.connection, minutes)
    await prepare_table(lab.house.connection, days.contract)
    await take(lab, warm("a", day(20), 1.0))
    async with another(lab, "refreshing") as store:
        await store.partitions.ensure(minutes.contract, pl.Series([day(20)]))
        async with held_at(lab, READER, "device_days", "device_minutes"):
            registering = asyncio.create_task(registered(lab.house.way.store._dsn, "registering", days))
            await is_blocked(lab.house.way.pool, "registering")
            refreshing = asyncio.create_task(refresh(store, minutes, a_run()))
            await is_blocked(lab.house.way.pool, "refreshing")
        await registering
        assert (await refreshing).buckets == 1
    assert set(await marks(lab)) == {"device_days"}
    assert (await refresh(lab.house.way.store, days, a_run())).rows == 1
    await proves(lab)


async def test_a_quarantine_waits_while_a_reader_is_registered(lab: Lab) -> None:
    await prepared(lab.house.connection)
    await take(lab, warm("a", day(20), 1.0))
    await refresh(lab.house.way.store, HOURLY, a_run())
    async with another(lab, "act") as store:
        acts = recall.House(Way(store, lab.house.way.pool, lab.house.way.plan), lab.house.connection)
        async with held_at(lab, "LOCK TABLE ONLY store.sensor_readings IN SHARE MODE"):
            acting = asyncio.create_task(acts.act("quarantine", Selection(device="a")))
            await is_blocked(lab.house.way.pool, "act")
        assert await acting == 1
    assert await marks(lab) == {"sensor_readings_hourly": 1}


async def test_a_table_that_is_held_too_long_keeps_the_others_from_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lab.refresh()
    await lab.rows("DELETE FROM store.mark_readers WHERE reader = 'device_months' RETURNING reader")
    await take(lab, warm("a", day(20), 1.0))
    monkeypatch.setattr("tasks.derived.mark_readers.PATIENCE", PATIENCE / 100)
    held = "LOCK TABLE ONLY store.sensor_readings IN ROW EXCLUSIVE MODE"
    async with held_at(lab, held):
        with pytest.raises(
            ContractError, match=r"^Not refreshed: device_months \(sensor_readings is written to"
        ):
            await lab.refresh()
    assert await lab.rows("SELECT count(*) FROM device_days") == [(1,)]
    assert (await lab.refresh())["device_months"].rows == 1
    await proves(lab)


async def test_one_that_left_is_told_no_more_and_is_filled_again_when_it_comes_back(lab: Lab) -> None:
    await take(lab, warm("a", day(20, 8, 1), 1.0), warm("b", day(21), 2.0))
    await lab.refresh()
    folder = lab.settings.pipelines[0] / "climate" / "derived"
    file = folder / "device_minutes.yaml"
    text = file.read_text()
    file.write_text(text.replace("bucket: minute", "bucket: moment"))
    with capture_logs() as logs:
        await lab.refresh()  # broken, and so is what is made from it: neither is gone
    assert [entry for entry in logs if "left the catalog" in entry["event"]] == []
    await take(lab, warm("c", day(20, 8, 1), 3.0))
    assert (await marks(lab))["device_minutes"] == 1
    file.unlink()
    with capture_logs() as logs:
        await lab.refresh()
    gone = [entry["table"] for entry in logs if "left the catalog" in entry["event"]]
    assert gone == ["device_minutes"]  # device_days is broken without it
    assert "device_minutes" not in await marks(lab)
    await take(lab, warm("d", day(20, 8, 1), 4.0))
    assert "device_minutes" not in await marks(lab)
    acts = recall.House(lab.house.way, lab.house.connection)
    await acts.reprocess(1, a_day_later("b"))  # day 21 has no row any more
    await proves(lab)
    file.write_text(text)
    made = await lab.refresh()
    assert made["device_minutes"].buckets == 3
    assert await lab.rows("SELECT device_id, day FROM device_days ORDER BY 1") == [
        ("a", day(20)),
        ("b", day(22)),
        ("c", day(20)),
        ("d", day(20)),
    ]
    await proves(lab)


def a_day_later(device: str) -> CurrentPipeline:
    """Today's code, which reads another time of what that device sent."""

    async def refine(batch: RawBatch, reference: Reference) -> Refined:
        refined = await recall.TODAY.refine(batch, reference)
        later = pl.when(pl.col("device_id") == device).then(pl.duration(days=1)).otherwise(pl.duration())
        rows = refined.accepted["sensor_readings"].with_columns(pl.col("timestamp") + later)
        return replace(refined, accepted={"sensor_readings": rows})

    return replace(recall.TODAY, refine=refine)


def of_each(bucket: Bucket) -> Aggregate:
    """How many readings each device sent in each bucket."""
    text, required = {"type": "text"}, {"type": "timestamp", "required": True}
    said = {
        "key": ["device_id", "start"],
        "time": "start",
        "on_return": "recompute",
        "made_from": ["sensor_readings"],
        "bucket": bucket,
        "columns": {"device_id": text, "start": required, "readings": {"type": "integer"}},
    }
    sql = (
        f"SELECT device_id, {bucket.start_sql(quoted('timestamp'))} AS start, count(*) AS readings "
        'FROM sensor_readings WHERE "timestamp" >= $1 AND "timestamp" < $2 GROUP BY 1, 2'
    )
    contract = DerivedDefinition.model_validate(said).contract("of_each")
    return Draft(contract=contract, made_from=("sensor_readings",), sql=sql).made(SHIPPED.contracts)


MOMENTS = [day(20, 8, minute) for minute in (0, 1, 4, 5, 14, 15, 59)]
MOMENTS += [day(20, 9), day(20, 23, 59), day(21), day(1), day(1) - timedelta(minutes=1)]


@pytest.mark.parametrize("bucket", Bucket)
async def test_a_bucket_is_what_its_contract_says(lab: Lab, bucket: Bucket) -> None:
    aggregate, store = of_each(bucket), lab.house.way.store
    await prepared(lab.house.connection, aggregate)
    first = await take(lab, *(warm("a", moment, 1.0) for moment in MOMENTS))
    expected = Counter(bucket.start(moment) for moment in MOMENTS)
    done = await refresh(store, aggregate, a_run(), buckets_per_transaction=2)
    assert (done.buckets, done.rows) == (len(expected), len(expected))
    found = await lab.rows("SELECT start, readings FROM of_each ORDER BY 1")
    assert found == sorted(expected.items())
    moment = day(20, 8, 1).replace(second=1)
    late = await take(lab, warm("a", moment, 2.0))
    start = bucket.start(moment)
    key = read_key(aggregate.contract, f"a,{start.isoformat()}")
    sources = list(aggregate.made_from.values())
    traced = await trace_aggregate(lab.house.way.pool, aggregate, sources, key, 1)
    assert (traced.made_from[0].total, traced.made_from[0].changed_since) == (expected[start] + 1, True)
    done = await refresh(store, aggregate, a_run())
    assert (done.buckets, done.rows) == (1, 1)
    target = bucket_node(naming.postgres("of_each"), start, bucket).key
    assert await lab.feeds(target) == {batch_node(READINGS, each).key for each in (first, late)}
    connection = lab.house.connection
    found_rows = await conditions(connection, Selection(batch=late), recalled_tables(SHIPPED)[-1:])
    assert (await scope_of(connection, found_rows, [aggregate])).aggregates == {"of_each": 1}
    await proves(lab)
    assert digest(await in_graph(lab.house.graph)) == digest(await of_log(connection))
    await lab.house.tamper(
        "of_each", f"UPDATE store.of_each SET readings = 99 WHERE batch = {done.batches[0]}"
    )
    (said,) = await lab.differences()
    label = bucket.label(start)
    assert said.startswith(f"of_each, {bucket} {label}, batch {done.batches[0]}: the values of its 1 row(s)")


async def test_days_and_months_of_a_folded_day_are_the_day(lab: Lab) -> None:
    await take(lab, warm("a", day(1, 8), 1.0))
    await lab.refresh()
    connection = lab.house.connection
    await relay.catch_up(connection, lab.house.graph)
    run = Run(id=uuid4(), kind="flow", name="folds", started_at=datetime.now(UTC))
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("UPDATE store.ledger SET processed_at = '2026-11-01T12:00Z'")
    await connection.execute("SET session_replication_role = origin")
    assert await fold_next_day(connection, run, day(2)) == "2026-11-01"
    await take(lab, warm("b", day(1, 8), 1.0))  # makes them again
    await lab.refresh()
    await relay.catch_up(connection, lab.house.graph)
    keys = {key for _, key in (await in_graph(lab.house.graph)).nodes}
    for table in LAB:
        assert {key for key in keys if key.startswith(f"postgres:{table}#")} == {
            f"postgres:{table}#day:2026-11-01"
        }
    assert digest(await in_graph(lab.house.graph)) == digest(await of_log(connection))


async def test_a_recall_counts_what_was_made_from_what_was_made(lab: Lab) -> None:
    first = await take(lab, warm("a", day(20, 8, 1), 1.0), warm("b", day(20, 8, 1), 1.0))
    await take(lab, warm("a", day(21), 1.0))
    await lab.refresh()
    order = Order()
    found = await recalled(lab.settings, lab.catalog, Selection(device="a", batch=first), order)
    assert found.scope.aggregates == {
        "sensor_readings_hourly": 1,
        "device_minutes": 1,
        "device_months": 1,
        "device_days": 1,
    }
    order = Order(kinds=["quarantine"], reason="a bad probe", by_whom="ada", apply=True)
    done = await recalled(lab.settings, lab.catalog, Selection(device="a", batch=first), order)
    assert done.buckets == 4
    assert await lab.rows("SELECT device_id, day FROM device_days ORDER BY 1") == [
        ("a", day(21)),
        ("b", day(20)),
    ]
    await proves(lab)


LOST = {
    "device_minutes": "sensor_readings, batch {batch}, minute 2026-11-20T08:01Z",
    "device_months": "sensor_readings, batch {batch}, month 2026-11",
    "sensor_readings_hourly": "sensor_readings, batch {batch}, hour 2026-11-20T08Z",
}


@pytest.mark.parametrize("reader", LOST)
async def test_a_mark_that_is_lost_is_told_for_each_reader(lab: Lab, reader: str) -> None:
    await take(lab, warm("a", day(20, 8, 1), 1.0))
    await lab.refresh()
    batch = await take(lab, warm("b", day(20, 8, 1), 1.0))
    assert await lab.differences() == ()  # they wait
    await lab.rows("DELETE FROM store.change_marks WHERE reader = $1 RETURNING id", reader)
    await lab.refresh()
    said = f"{LOST[reader].format(batch=batch)}: its mark is lost, {reader} is not made from it"
    assert await lab.differences() == (said,)


async def test_a_mark_of_a_refresh_that_is_lost_is_told(lab: Lab) -> None:
    """Also of a bucket that has no row any more."""
    await take(lab, warm("a", day(20, 8, 1), 1.0))
    await lab.refresh()
    acts = recall.House(lab.house.way, lab.house.connection)
    await acts.act("quarantine", Selection(device="a"))
    done = await refresh(lab.house.way.store, lab.catalog.derived["device_minutes"], a_run())
    assert done.rows == 0
    assert await lab.differences() == ()
    await lab.rows("DELETE FROM store.change_marks WHERE reader = 'device_days' RETURNING id")
    said = f"device_minutes, batch {done.batches[0]}, day 2026-11-20: its mark is lost, device_days is not"
    (found,) = await lab.differences()
    assert found.startswith(said)


WRONG = {
    "UPDATE store.mark_readers SET bucket = 'hour' WHERE reader = 'device_months'": (
        "mark_readers: device_months, made from sensor_readings: it is told of each hour, and its contract "
        "says month"
    ),
    "INSERT INTO store.mark_readers VALUES ('device_days', 'nothing', 'day')": (
        "mark_readers: device_days, made from nothing: there is no such derived table, or none with a time"
    ),
    "INSERT INTO store.change_marks (reader, table_name, bucket, batch) "
    "VALUES ('device_days', 'device_minutes', '2026-11-25Z', 1)": (
        "device_minutes, batch 1, day 2026-11-25: it is marked as changed for device_days, and no such row"
    ),
    "INSERT INTO store.change_marks (reader, table_name, bucket, batch) "
    "VALUES ('device_days', 'runs', '2026-11-25Z', 1)": (
        "change_marks: of runs for device_days, which is not told of its changes"
    ),
}


@pytest.mark.parametrize("statement", WRONG)
async def test_what_is_wrong_with_readers_and_marks_is_told(lab: Lab, statement: str) -> None:
    await take(lab, warm("a", day(20, 8, 1), 1.0))
    await lab.refresh()
    await lab.house.connection.execute(statement)
    (said,) = await lab.differences()
    assert said.startswith(WRONG[statement])


async def test_another_bucket_is_another_table(lab: Lab) -> None:
    await lab.refresh()
    file = lab.settings.pipelines[0] / "climate" / "derived" / "device_months.yaml"
    file.write_text(file.read_text().replace("bucket: month", "bucket: day\npartition_by: month"))
    contract = lab.catalog.contracts["device_months"]
    with pytest.raises(ContractError, match="stands with bucket: month and its contract now says day"):
        await prepare_table(lab.house.connection, contract)


# The schema as it was: `hour`, and no reader.
BEFORE = """
DROP TABLE store.mark_readers;
ALTER TABLE store.change_marks DROP COLUMN reader;
ALTER TABLE store.change_marks RENAME COLUMN bucket TO hour;
CREATE INDEX change_marks_hour ON store.change_marks (table_name, hour);
DELETE FROM store.migrations WHERE name = 'infra/0023_mark_readers.sql';
"""


async def test_marks_of_before_are_those_of_the_reader_there_was(lab: Lab) -> None:
    connection = lab.house.connection
    await prepared(connection)
    await take(lab, warm("a", day(20, 8, 1), 1.0))
    await refresh(lab.house.way.store, HOURLY, a_run())
    waits = await take(lab, warm("b", day(20, 9, 1), 1.0))
    await connection.execute(BEFORE)
    await connection.execute(
        "INSERT INTO store.change_marks (table_name, hour, batch) VALUES ('runs', '2026-11-20Z', 1)"
    )
    await migrate(connection)
    assert await lab.rows("SELECT reader, table_name, bucket, batch FROM store.change_marks") == [
        ("sensor_readings_hourly", "sensor_readings", day(20, 9), waits)
    ]
    readers = "SELECT reader, table_name, bucket, filled_at IS NOT NULL FROM store.mark_readers"
    assert await lab.rows(readers) == [("sensor_readings_hourly", "sensor_readings", "hour", True)]
    assert await lab.differences() == ()
    made = await lab.refresh()
    assert made["sensor_readings_hourly"].buckets == 1  # the others are filled from what is stored
    assert made["device_minutes"].buckets == 2
    await proves(lab)
