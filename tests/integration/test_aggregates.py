"""Aggregates on a real Postgres: the hours that changed, all of them, and no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from infra.graph import open_graph
from infra.local.addresses import Address
from infra.postgres import Pool
from lineage import graph as graphs
from lineage import naming, relay
from lineage.bucket import Bucket
from lineage.errors import ContractError
from lineage.log import FIRST_HEAD, canonical, chain, entry_of
from lineage.model import batch_node, bucket_node
from lineage.projection import digest
from tasks.derived.aggregate import Aggregate
from tasks.derived.refresh import Refreshed, refresh
from tasks.load.store import Store
from tests.fixtures.aggregates import HOURLY, a_run, assert_proven, at, prepared, reading
from tests.fixtures.commit import Way, a_batch, a_way
from tests.fixtures.graph import endpoint_of
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.postgres import a_connection

METRICS = ("temperature", "humidity", "pressure", "heat_index", "dew_point")


class Kept:
    """Readings that come in, and their aggregate."""

    def __init__(self, dsn: str, way: Way) -> None:
        self.dsn, self.way, self.pool = dsn, way, way.pool

    async def take(self, *messages: tuple[str, bytes]) -> int:
        return (await self.way.take(a_batch(*messages))).batch

    async def refresh(self, store: Store | None = None, hours: int = 48) -> Refreshed:
        return await refresh(store or self.way.store, HOURLY, a_run(), buckets_per_transaction=hours)

    async def hours(self) -> dict[int, list[int]]:
        """Hour of the day → the batches that wrote its rows."""
        rows = await self.pool.fetch(
            "SELECT hour, array_agg(DISTINCT batch) AS batches FROM sensor_readings_hourly "
            "GROUP BY 1 ORDER BY 1"
        )
        return {row["hour"].hour: row["batches"] for row in rows}


@asynccontextmanager
async def a_kept(dsn: str) -> AsyncIterator[Kept]:
    async with a_way(dsn) as way:
        async with way.pool.acquire() as connection:
            await prepared(connection)
        yield Kept(dsn, way)


@pytest.fixture
async def kept(postgres_dsn: str) -> AsyncIterator[Kept]:
    async with a_kept(postgres_dsn) as kept:
        yield kept


@asynccontextmanager
async def another(dsn: str, pool: Pool, application: str) -> AsyncIterator[Store]:
    async with Store(dsn, pool, application=application) as store:
        yield store


async def is_blocked(pool: Pool, application: str) -> None:
    """Return once the other waits for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock' "
        "AND datname = current_database()"
    )
    async with asyncio.timeout(20):
        while not await pool.fetchval(query, f"headwater {application}"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def by_polars(pool: Pool) -> pl.DataFrame:
    """The aggregate as Polars computes it from the stored readings."""
    rows = await pool.fetch(f'SELECT device_id, "timestamp", {", ".join(METRICS)} FROM sensor_readings')
    schema = {
        "device_id": pl.String,
        "timestamp": pl.Datetime("us", "UTC"),
        **dict.fromkeys(METRICS, pl.Float64),
    }
    readings = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
    columns = [pl.len().cast(pl.Int64).alias("readings")]
    columns += [pl.col("timestamp").min().alias("first_timestamp")]
    columns += [pl.col("timestamp").max().alias("last_timestamp")]
    for name in METRICS:
        column = pl.col(name)
        columns += [
            column.mean().alias(f"{name}_mean"),
            column.min().alias(f"{name}_min"),
            column.max().alias(f"{name}_max"),
            column.std(ddof=1).alias(f"{name}_std"),
            column.count().cast(pl.Int64).alias(f"{name}_count"),
        ]
    hours = pl.col("timestamp").dt.truncate("1h").alias("hour")
    computed = readings.group_by("device_id", hours).agg(columns)
    return computed.select(HOURLY.contract.names).sort("device_id", "hour")


async def stored(pool: Pool, aggregate: Aggregate = HOURLY) -> pl.DataFrame:
    contract = aggregate.contract
    rows = await pool.fetch(f"SELECT {', '.join(contract.names)} FROM {contract.table}")
    frame = pl.DataFrame([tuple(row) for row in rows], schema=contract.row_schema, orient="row")
    return frame.sort(contract.key)


async def test_the_values_are_those_polars_computes(kept: Kept) -> None:
    messages = [
        reading(
            f"d{number % 3}",
            at(number % 4, number % 60),
            temperature=20 + (number * 7919 % 100) / 7,
            humidity=None if number % 5 == 0 else 40 + number % 50,
            pressure=900 + number % 11 / 3 if number % 2 else None,
        )
        for number in range(240)
    ]
    await kept.take(*messages)
    done = await kept.refresh()
    assert (done.buckets, done.rows) == (4, 12)
    expected, found = await by_polars(kept.pool), await stored(kept.pool)
    assert expected["heat_index_count"].sum() > 0
    assert_frame_equal(found, expected, rel_tol=1e-9)
    await assert_proven(kept.pool)


async def test_one_reading_has_no_deviation_and_none_has_no_mean(kept: Kept) -> None:
    await kept.take(reading("a", at(3, 7), temperature=21.5))
    await kept.refresh()
    (row,) = (await stored(kept.pool)).to_dicts()
    assert (row["readings"], row["temperature_count"], row["temperature_mean"]) == (1, 1, 21.5)
    assert row["temperature_std"] is None
    assert (row["humidity_count"], row["humidity_mean"], row["humidity_min"]) == (0, None, None)
    assert row["hour"] == at(3)
    assert row["first_timestamp"] == row["last_timestamp"] == at(3, 7)


async def test_only_the_hours_that_changed_are_recomputed(kept: Kept) -> None:
    await kept.take(*(reading(device, at(hour, 1)) for device in "ab" for hour in range(4)))
    (first,) = (await kept.refresh()).batches
    assert await kept.hours() == {hour: [first] for hour in range(4)}
    await kept.take(reading("a", at(1, 30), temperature=40.0), reading("c", at(2, 30)))  # late
    done = await kept.refresh()
    assert (done.buckets, done.rows) == (2, 5)
    assert await kept.hours() == {0: [first], 1: [*done.batches], 2: [*done.batches], 3: [first]}
    assert_frame_equal(await stored(kept.pool), await by_polars(kept.pool), rel_tol=1e-9)
    await assert_proven(kept.pool)


async def test_nothing_is_written_when_nothing_changed(kept: Kept) -> None:
    batch = a_batch(reading("a", at(1)))
    await kept.way.take(batch)
    await kept.refresh()
    books = await kept.pool.fetchval("SELECT count(*) FROM ledger")
    assert await kept.refresh() == Refreshed(table="sensor_readings_hourly")
    assert await kept.pool.fetchval("SELECT count(*) FROM ledger") == books
    await kept.way.take(batch)  # a duplicate changes no hour
    assert (await kept.refresh()).buckets == 0


async def test_the_books_of_a_refresh_balance_and_chain(kept: Kept) -> None:
    await kept.take(*(reading("a", at(hour)) for hour in range(5)))
    done = await kept.refresh(hours=2)
    assert len(done.batches) == 3
    assert (done.buckets, done.rows) == (5, 5)
    rows = await kept.pool.fetch("SELECT * FROM ledger WHERE way = 'refresh' ORDER BY batch")
    assert [row["batch"] for row in rows] == list(done.batches)
    assert [(row["read"], row["accepted"]) for row in rows] == [(2, 2), (2, 2), (1, 1)]
    assert {row["dataset"] for row in rows} == {"postgres:sensor_readings"}
    query = "SELECT DISTINCT batch, processed_at FROM sensor_readings_hourly ORDER BY batch"
    assert [tuple(row) for row in await kept.pool.fetch(query)] == [
        (row["batch"], row["processed_at"]) for row in rows
    ]
    head = FIRST_HEAD
    for row in await kept.pool.fetch("SELECT * FROM lineage_log ORDER BY writer, number"):
        entry = entry_of(row)
        head = chain(head, canonical(entry.writer, entry.number, entry.batch, entry.edge))
        assert entry.hash == head
    assert rows[-1]["chain_head"] == head
    await assert_proven(kept.pool)


async def test_an_hour_whose_rows_are_gone_disappears(kept: Kept) -> None:
    await kept.take(reading("a", at(1)), reading("a", at(2)))
    await kept.refresh()
    async with kept.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "DELETE FROM store.sensor_readings WHERE \"timestamp\" < '2026-11-20 02:00Z'"
        )
        await connection.execute(
            "INSERT INTO store.change_marks (reader, table_name, bucket, batch) "
            "VALUES ('sensor_readings_hourly', 'sensor_readings', $1, 4711)",
            at(1),
        )
    done = await kept.refresh()
    assert (done.buckets, done.rows) == (1, 0)
    assert list(await kept.hours()) == [2]
    emptied = "SELECT rows FROM ledger_outputs WHERE bucket = $1 ORDER BY batch DESC LIMIT 1"
    assert await kept.pool.fetchval(emptied, at(1)) == 0
    await assert_proven(kept.pool)


async def test_a_mark_with_a_lower_id_that_commits_later_is_not_lost(kept: Kept) -> None:
    """The first batch is held just before its COMMIT while a later one commits and is aggregated."""
    await kept.take(reading("other", at(0)))  # its partition stands
    async with another(kept.dsn, kept.pool, "held") as store, a_connection(kept.dsn) as blocker:
        slow = Way(store, kept.pool, kept.way.plan)
        holding = blocker.transaction()
        await holding.start()
        await blocker.execute(
            "INSERT INTO store.subjects VALUES ('device', 'slow', 'postgres:sensor_readings')"
        )
        first = asyncio.create_task(slow.take(a_batch(reading("slow", at(1), temperature=10.0))))
        await is_blocked(kept.pool, "held")  # it has its marks and waits for the subject
        later = await kept.take(reading("quick", at(1), temperature=30.0))
        assert (await kept.refresh()).buckets == 2
        assert (await stored(kept.pool))["device_id"].to_list() == ["other", "quick"]
        await holding.rollback()
        receipt = await first
    assert receipt.batch < later
    done = await kept.refresh()
    assert (done.buckets, done.rows) == (1, 2)
    assert_frame_equal(await stored(kept.pool), await by_polars(kept.pool), rel_tol=1e-9)


async def test_what_commits_during_a_refresh_is_left_to_the_next(kept: Kept) -> None:
    """The refresh is held after its snapshot; what commits then is neither in its rows nor lost."""
    before = await kept.take(reading("a", at(1), temperature=10.0))
    async with another(kept.dsn, kept.pool, "held") as store, a_connection(kept.dsn) as blocker:
        # The partition must stand, or the refresh is held before it has begun.
        await store.partitions.ensure(HOURLY.contract, pl.Series([at(1)]))
        holding = blocker.transaction()
        await holding.start()
        await blocker.execute("LOCK TABLE store.sensor_readings_hourly_20261101 IN SHARE MODE")
        refreshing = asyncio.create_task(kept.refresh(store))
        await is_blocked(kept.pool, "held")
        during = await kept.take(reading("b", at(1), temperature=30.0))
        await holding.rollback()
        assert (await refreshing).rows == 1
    assert await kept.pool.fetchval("SELECT array_agg(batch) FROM store.change_marks") == [during]
    assert await fed_by(kept.pool, at(1)) == [before]
    assert (await kept.refresh()).rows == 2
    assert await fed_by(kept.pool, at(1)) == [before, during]
    assert_frame_equal(await stored(kept.pool), await by_polars(kept.pool), rel_tol=1e-9)


async def fed_by(pool: Pool, hour: datetime) -> list[int]:
    """The batches an hour was made from, as the log says."""
    target = bucket_node(naming.postgres("sensor_readings_hourly"), hour, Bucket.HOUR)
    rows = await pool.fetch(
        "SELECT source_facts ->> 'number' AS number FROM lineage_log WHERE target_key = $1", target.key
    )
    return sorted(int(row["number"]) for row in rows)


async def test_refreshes_and_ingest_interleave_and_no_hour_is_lost(kept: Kept) -> None:
    """Two listeners write three hours while two refreshes take turns."""
    writing = 2

    async def listen(store: Store, device: str) -> list[int]:
        nonlocal writing
        way, batches = Way(store, kept.pool, kept.way.plan), []
        for number in range(25):
            one = reading(device, at(number % 3, number), temperature=float(number))
            batches.append((await way.take(a_batch(one))).batch)
        writing -= 1
        return batches

    async def keep(store: Store) -> None:
        while writing:
            await kept.refresh(store, hours=2)

    names = ("listen a", "listen b", "keep a", "keep b")
    stores = [Store(kept.dsn, kept.pool, application=name) for name in names]
    try:
        a, b, *_ = await asyncio.gather(
            listen(stores[0], "a"), listen(stores[1], "b"), keep(stores[2]), keep(stores[3])
        )
    finally:
        for store in stores:
            await store.close()
    await kept.refresh()
    assert await kept.pool.fetchval("SELECT count(*) FROM store.change_marks") == 0
    assert_frame_equal(await stored(kept.pool), await by_polars(kept.pool), rel_tol=1e-9)
    fed = [batch for hour in range(3) for batch in await fed_by(kept.pool, at(hour))]
    assert sorted(fed) == sorted([*a, *b])  # each batch fed its hour exactly once
    await assert_proven(kept.pool)


async def test_a_refresh_that_fails_leaves_everything_as_it_was(kept: Kept) -> None:
    await kept.take(reading("a", at(1)), reading("a", at(2)))
    shifted = replace(HOURLY, sql=HOURLY.sql.replace("'hour'", "'day'"))
    with pytest.raises(ContractError, match="outside the hour"):
        await refresh(kept.way.store, shifted, a_run())
    assert await kept.hours() == {}
    assert (await kept.refresh()).rows == 2


async def test_the_graph_leads_from_an_hour_to_the_batches_it_was_made_from(
    postgres_dsn: str, graph: Address
) -> None:
    async with (
        a_kept(postgres_dsn) as kept,
        open_graph(endpoint_of(graph)) as bolt,
        a_connection(postgres_dsn) as own,
    ):
        await graphs.migrate(bolt)
        one = await kept.take(reading("a", at(1)))
        await kept.refresh()
        two = await kept.take(reading("b", at(1)), reading("b", at(2)))
        await kept.refresh()
        while (await relay.carry(own, bolt)).entries:
            pass
        rows = await bolt.read(
            "MATCH (d:Dataset)<-[:PART_OF]-(b:Batch)-[r:FEEDS]->(h:Batch {key: $key}) "
            "RETURN d.key AS dataset, b.number AS number, r.transformation_id AS via, h.hour AS hour "
            "ORDER BY number",
            {"key": bucket_node(naming.postgres("sensor_readings_hourly"), at(1), Bucket.HOUR).key},
        )
        assert [(row["dataset"], row["number"]) for row in rows] == [
            ("postgres:sensor_readings", one),
            ("postgres:sensor_readings", two),
        ]
        assert {row["via"] for row in rows} == {HOURLY.transformation().id}
        assert digest(await in_graph(bolt)) == digest(await of_log(own))
        key = batch_node(naming.postgres("sensor_readings"), one).key
        raw = await bolt.read(
            "MATCH (r:Batch)-[:FEEDS]->(:Batch {key: $key}) RETURN r.dataset AS d", {"key": key}
        )
        assert raw == [{"d": "mqtt:sensors/+/readings"}]
