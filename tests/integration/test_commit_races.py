"""What must hold when commits meet: fixed orders, one revision at a time, and a COMMIT that comes late."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from infra.postgres import Connection
from lineage.errors import UnavailableError
from lineage.log import await_end_of
from tasks.batch import Receipt
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.load import settle
from tasks.load.commit import load
from tasks.load.prepare import Prepared, prepare
from tasks.load.store import Store
from tasks.transform import records
from tests.fixtures.commit import CONTRACT, REFERENCE, Way, a_batch, a_plan, a_way, message
from tests.fixtures.readings import steps_of, topics_of
from tests.fixtures.waiting import until_stored

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
Messages = list[tuple[str, bytes]]


@pytest.fixture
async def way(postgres_dsn: str) -> AsyncIterator[Way]:
    async with a_way(postgres_dsn) as way:
        yield way


@pytest.fixture
async def other(postgres_dsn: str, way: Way) -> AsyncIterator[Store]:
    async with Store(postgres_dsn, way.pool, application="other") as store:
        yield store


async def take(store: Store, messages: Messages, *, may_repeat: bool = False) -> Receipt:
    return await load(store, a_plan(), ready(messages, may_repeat=may_repeat))


def ready(messages: Messages, *, may_repeat: bool = False) -> Prepared:
    batch = a_batch(*messages, may_repeat=may_repeat)
    refined = records.refine(batch, REFERENCE, Decoder(CONTRACT), topics_of(batch), steps_of(CONTRACT))
    as_they_came = {table: rows.sort("sequence") for table, rows in refined.accepted.items()}
    return prepare(batch, replace(refined, accepted=as_they_came), a_plan())


def identity(at: tuple[str, bytes]) -> bytes:
    """A rejected message's, as `docs/readings.md` and `tasks/load/rejected.py` define it."""
    topic, payload = at
    text = "\x1f".join(("mqtt:sensors/+/readings", topic, "-", hashlib.sha256(payload).hexdigest()))
    return hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("may_repeat", [False, True])
async def test_two_that_reject_the_same_in_opposite_orders_do_not_deadlock(
    way: Way, other: Store, connection: Connection, may_repeat: bool
) -> None:
    messages = sorted((("sensors/a/readings", f"no json {n}".encode()) for n in range(21)), key=identity)
    query = (
        "INSERT INTO store.rejected (identity, batch, sequence, dataset, stage, rules, error_type, message, "
        "contract, rejected_at) VALUES ($1, 0, 0, 'x', 'x', '{}', 'x', 'x', 1, now())"
    )
    receipts = await _both(way, other, connection, messages, (query, identity(messages[10])), may_repeat)
    assert sum(receipt.rejected for receipt in receipts) == 21


@pytest.mark.parametrize("may_repeat", [False, True])
async def test_two_that_store_the_same_in_opposite_orders_do_not_deadlock(
    way: Way, other: Store, connection: Connection, may_repeat: bool
) -> None:
    messages = [message("a", second) for second in range(21)]
    query = (
        "INSERT INTO store.sensor_readings "
        '(device_id, "timestamp", processed_at, batch, sequence, input_hash) '
        "VALUES ($1, '2026-11-21T00:00:10Z', now(), 0, 0, 0)"
    )
    receipts = await _both(way, other, connection, messages, (query, "a"), may_repeat)
    assert sum(receipt.accepted["sensor_readings"] for receipt in receipts) == 21


async def _both(
    way: Way,
    other: Store,
    connection: Connection,
    messages: Messages,
    middle: tuple[str, object],
    may_repeat: bool,
) -> list[Receipt]:
    """Two commits in opposite orders meet at what a third holds, then it goes away."""
    for store in (way.store, other):
        await take(store, [message(f"warm {id(store)}", 1)])  # subjects and partitions stand
    held = connection.transaction()
    await held.start()
    await connection.execute(*middle)
    tasks = [
        asyncio.create_task(take(store, order, may_repeat=may_repeat))
        for store, order in ((way.store, messages), (other, messages[::-1]))
    ]
    async with way.pool.acquire() as watching:
        await until_stored(watching, WAITING, 2)
    await held.rollback()
    return await asyncio.gather(*tasks)  # a deadlock is an UnavailableError


async def hold_commits(connection: Connection) -> None:
    """From now on a COMMIT waits until `connection` lets go of the advisory lock 99."""
    await connection.execute(
        """
        CREATE FUNCTION store.pause() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(99); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER pause AFTER INSERT ON store.ledger DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION store.pause()
        """
    )
    await connection.execute("SELECT pg_advisory_lock(99)")


@pytest.mark.parametrize("may_repeat", [False, True])
async def test_a_rival_that_another_commit_stores_meanwhile_is_not_rejected_too(
    way: Way, other: Store, connection: Connection, may_repeat: bool
) -> None:
    """One listener has `mine` under way; it is delivered to another one too, after a rival for its key.

    A key that is stored leads the other batch to the staging way: there it waits for the first commit.
    """
    mine, rival = message("a", 1), message("a", 1, temperature=1.0)
    for store in (way.store, other):
        await take(store, [message(f"warm {id(store)}", 1)])
    await hold_commits(connection)
    first = asyncio.create_task(take(way.store, [mine]))
    await until_stored(connection, WAITING, 1)
    again = message(f"warm {id(other)}", 1)
    second = asyncio.create_task(take(other, [again, rival, mine], may_repeat=may_repeat))
    await until_stored(connection, WAITING, 2)
    await connection.execute("SELECT pg_advisory_unlock(99)")
    await first
    receipt = await second
    assert (receipt.rejected, receipt.duplicates) == (1, 2)
    stored = "SELECT temperature FROM store.sensor_readings WHERE device_id = 'a'"
    assert await way.value(stored) == 20.5
    rejected = await connection.fetch("SELECT identity FROM store.rejected")
    assert [row["identity"] for row in rejected] == [identity(rival)]


def narrowed(contract: Contract, name: str, *, minimum: float) -> Contract:
    columns = tuple(
        column.model_copy(update={"minimum": minimum}) if column.name == name else column
        for column in contract.columns
    )
    return contract.model_copy(update={"columns": columns})


async def test_a_record_rejected_before_is_a_duplicate_after_a_copy_that_met_a_stored_key(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No look told that the batch was delivered before: its copy is rolled back, and all is told anew."""
    monkeypatch.setattr(settle, "LOOKED_AT", 1)  # the first row alone, which is new
    stored, rejected = message("b", 1), message("c", 1, temperature=-5)
    narrow = narrowed(CONTRACT, "temperature", minimum=0)
    first = await way.take(a_batch(stored, rejected), narrow)
    assert (first.accepted["sensor_readings"], first.rejected) == (1, 1)
    receipt = await way.take(a_batch(message("a", 1), stored, rejected, may_repeat=True))
    assert (receipt.way, receipt.accepted["sensor_readings"], receipt.duplicates) == ("staging", 1, 2)
    assert await way.value("SELECT array_agg(device_id ORDER BY device_id) FROM sensor_readings") == [
        "a",
        "b",
    ]


async def test_what_is_not_known_to_be_committed_waits_for_the_end_of_its_connection(
    way: Way, other: Store, connection: Connection
) -> None:
    """The answer to COMMIT is lost while COMMIT itself is still under way."""
    await hold_commits(connection)
    prepared = ready([message("a", 1)])
    first = asyncio.create_task(load(way.store, a_plan(), prepared))
    await until_stored(connection, WAITING, 1)
    second = asyncio.create_task(load(other, a_plan(), prepared))
    await until_stored(connection, WAITING, 2)
    await connection.execute("SELECT pg_advisory_unlock(99)")
    done = await first
    await way.store.close()
    assert await second == done
    assert await way.value("SELECT count(*) FROM ledger") == 1


async def test_a_commit_that_failed_leaves_no_connection_behind(way: Way, other: Store) -> None:
    with pytest.raises(UnavailableError):
        async with way.store.work() as session:
            raise UnavailableError("Postgres", "as if")
    assert session.connection.is_closed()
    async with asyncio.timeout(10), other.work() as alive:
        await await_end_of(alive.connection, session.writer)
