"""Sequences that fell behind what is stored, as after a failover: no number twice, no receipt but ours."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest

from infra.doctor import postgres as doctor
from infra.doctor.finding import Level
from infra.local.addresses import Address
from infra.postgres import Connection
from lineage import sequences
from lineage.assets import Materialization, take
from lineage.errors import UnavailableError
from lineage.log import open_writer
from lineage.model import Run, Transformation
from lineage.recorder import record
from tasks.again.erase import Erasure, erase
from tasks.again.recall import Selection
from tasks.batch import Receipt
from tasks.load.commit import load
from tasks.load.prepare import Prepared
from tasks.load.store import Store
from tasks.tables.tables import prepare_table
from tests.fixtures.aggregates import NOW
from tests.fixtures.commit import CONTRACT, Way, a_batch, a_plan, a_way, message
from tests.fixtures.proof import a_house
from tests.fixtures.recall import House
from tests.fixtures.recall import a_house as a_recall_house
from tests.fixtures.waiting import until_stored
from tests.integration.test_commit_races import WAITING, hold_commits, ready

OURS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'headwater test' AND wait_event_type = 'Lock'
"""
NAMES = """
SELECT format('%I.%I', schemaname, sequencename) AS name FROM pg_sequences WHERE schemaname = 'store'
"""
DEVICES = "SELECT array_agg(device_id ORDER BY device_id) FROM sensor_readings"


@pytest.fixture
async def way(postgres_dsn: str) -> AsyncIterator[Way]:
    async with a_way(postgres_dsn) as way:
        yield way


@pytest.fixture
async def other(postgres_dsn: str, way: Way) -> AsyncIterator[Store]:
    async with Store(postgres_dsn, way.pool, application="other") as store:
        yield store


async def killed_at_commit(way: Way, connection: Connection, prepared: Prepared) -> None:
    """The answer to COMMIT is lost, and the commit with it."""
    await hold_commits(connection)
    mine = asyncio.create_task(load(way.store, a_plan(), prepared))
    await until_stored(connection, WAITING, 1)
    await connection.execute("SELECT pg_terminate_backend($1)", await connection.fetchval(OURS))
    with pytest.raises(UnavailableError):
        await mine
    await connection.execute("SELECT pg_advisory_unlock(99)")


@pytest.mark.parametrize("same_writer", [False, True])
async def test_the_number_of_a_lost_commit_that_another_took_is_not_our_receipt(
    way: Way, other: Store, connection: Connection, same_writer: bool
) -> None:
    """A failover to a replica that lacks the last moments: numbers are given again, a writer's too."""
    prepared = ready([message("mine", 1)])
    await way.take(a_batch(message("warm", 1)))
    way.store.discard()
    await killed_at_commit(way, connection, prepared)
    assert prepared.tried is not None
    number, writer = prepared.tried.number, prepared.tried.writer.id
    await connection.execute("SELECT setval('store.batch_number', $1, false)", number)
    if same_writer:
        await connection.execute("DELETE FROM store.lineage_writers WHERE writer >= $1", writer)
        restart = f"ALTER TABLE store.lineage_writers ALTER COLUMN writer RESTART WITH {writer}"
        await connection.execute(restart)
    theirs = await load(other, a_plan(), ready([message("theirs", 1)]))
    assert theirs.batch == number
    async with asyncio.timeout(20):  # the other writer bears our number, and lives on
        receipt = await load(way.store, a_plan(), prepared)
    assert receipt.batch > number
    assert await way.value(DEVICES) == ["mine", "theirs", "warm"]


async def test_a_commit_whose_answer_alone_was_lost_is_found(
    way: Way, other: Store, connection: Connection
) -> None:
    prepared = ready([message("a", 1)])
    first = await load(way.store, a_plan(), prepared)
    way.store.discard()
    assert await load(other, a_plan(), prepared) == first
    assert await way.value("SELECT count(*) FROM ledger") == 1


async def back(connection: Connection) -> None:
    """Set every sequence of the store back, as where tables were replicated and sequences were not."""
    for row in await connection.fetch(NAMES):
        await connection.execute("SELECT setval($1::text::regclass, 1, false)", row["name"])


RUN = Run(id=uuid4(), kind="command", name="test", started_at=NOW)
BY = Transformation(name="test", version="1")


async def recorded(house: House) -> None:
    async with record(house.connection, BY) as recording:
        recording.feeds("file:x", "postgres:y")


async def materialized(house: House) -> None:
    made = Materialization(
        id=str(uuid4()), asset="s3:x", sources=(), occurred=NOW, run=RUN, transformation=BY
    )
    assert await take(house.connection, made)


async def erased(house: House) -> None:
    what = Erasure(batch=1, sequences=(0,), reason="asked for", by_whom="ada", run=RUN)
    assert await erase(house.connection, what)


KINDS: dict[str, Callable[[House], Awaitable[object]]] = {
    "commit": lambda house: house.take(message("b", 9)),
    "refresh": lambda house: house.refresh(),
    "quarantine": lambda house: house.act("quarantine", Selection(batch=1)),
    "reprocess": lambda house: house.reprocess(1),
    "record": recorded,
    "asset": materialized,
    "erase": erased,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("connected", [False, True])
async def test_every_kind_of_commit_takes_a_number_above_all_that_stand(
    postgres_dsn: str, kind: str, connected: bool
) -> None:
    async with a_recall_house(postgres_dsn) as house:
        for second in range(3):
            await house.take(message("a", second), message("b", second, temperature=900))
        await back(house.connection)
        if not connected:
            house.way.store.discard()
        await KINDS[kind](house)
        (last,) = await house.fetch("SELECT max(batch), count(*) FROM ledger")
        assert last == (4, 4)
        assert await house.value("SELECT count(*) FROM sequence_corrections") > 0
        await house.proves()


async def test_identities_that_fell_behind_hold_no_commit_up(
    way: Way, other: Store, connection: Connection
) -> None:
    """Marks, reigns and writers: a listener at work whose identities are set back goes on at the next try."""
    await way.take(a_batch(message("a", 1)))
    await back(connection)
    prepared = ready([message("b", 2)])
    receipt = await _in_time(other, prepared)
    assert receipt.accepted["sensor_readings"] == 1
    await back(connection)
    assert (await _in_time(other, ready([message("c", 3)]))).accepted["sensor_readings"] == 1
    assert await way.value(DEVICES) == ["a", "b", "c"]


async def _in_time(store: Store, prepared: Prepared) -> Receipt:
    for _ in range(3):
        try:
            return await load(store, a_plan(), prepared)
        except UnavailableError:
            continue
    raise AssertionError("three tries were not enough")


async def test_every_sequence_is_looked_at(postgres_dsn: str, graph_address: Address) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await house.way.take(a_batch(message("a", 1)))
        assert (await house.prove()).ok
        assert await sequences.behind(house.connection) == []
        await house.connection.execute(  # else nothing marks, and the marks' sequence stands still
            "INSERT INTO store.mark_readers (reader, table_name, bucket, filled_at) "
            "VALUES ('sensor_readings_hourly', 'sensor_readings', 'hour', clock_timestamp())"
        )
        await house.way.take(a_batch(message("b", 2)))
        await back(house.connection)
        query = (
            "SELECT format('%I.%I', schemaname, sequencename) FROM pg_sequences WHERE schemaname = 'store'"
        )
        names = {row[0] for row in await house.connection.fetch(query)}
        assert {each.sequence for each in await sequences.behind(house.connection)} == names


async def test_doctor_sees_a_sequence_that_is_behind_and_that_it_was(
    postgres_dsn: str, way: Way, connection: Connection
) -> None:
    await way.take(a_batch(message("a", 1)))
    assert [finding.level for finding in await doctor.check(postgres_dsn)] == [Level.OK]
    await connection.execute("SELECT setval('store.batch_number', 1, false)")
    (_, problem) = await doctor.check(postgres_dsn)
    assert (problem.level, problem.sentence) == (
        Level.PROBLEM,
        "store.batch_number is at 0, and number 1 is stored",
    )
    await open_writer(connection, "test")
    (_, warning) = await doctor.check(postgres_dsn)
    assert warning.level is Level.WARNING
    assert "store.batch_number was behind what is stored (0 of 1)" in warning.sentence


async def test_an_exhausted_sequence_is_postgres_being_away_and_rejects_nothing(
    way: Way, connection: Connection
) -> None:
    await way.take(a_batch(message("a", 0)))
    last = await way.take(a_batch(message("a", 1)))
    await connection.execute(f"ALTER SEQUENCE store.batch_number MAXVALUE {last.batch}")
    prepared = ready([message("b", 2)])
    with pytest.raises(UnavailableError, match="maximum value of sequence"):
        await load(way.store, a_plan(), prepared)
    await connection.execute("ALTER SEQUENCE store.batch_number NO MAXVALUE")
    assert (await load(way.store, a_plan(), prepared)).accepted["sensor_readings"] == 1
    assert await way.value("SELECT count(*) FROM rejected") == 0


async def test_a_raw_batch_that_bears_a_number_above_the_ledgers_is_passed(
    way: Way, connection: Connection
) -> None:
    await way.take(a_batch(message("a", 1)))
    await connection.execute("CREATE TEMP TABLE copied AS SELECT * FROM store.raw_batches")
    await connection.execute("UPDATE copied SET batch = 40")
    await connection.execute("INSERT INTO store.raw_batches SELECT * FROM copied")
    way.store.discard()
    assert (await way.take(a_batch(message("b", 2)))).batch == 41


async def test_the_number_of_a_batch_is_one_look_more_into_an_index(connection: Connection) -> None:
    await prepare_table(connection, CONTRACT)
    await connection.execute("SET enable_seqscan = off")
    plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN SELECT max(batch) FROM store.ledger"))
    assert "Index Only Scan Backward using ledger_pkey" in plan
