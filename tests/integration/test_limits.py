"""A source that is not read while too many of its rejected records wait, and one that is read slowly."""

import asyncio
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import ModuleType

import pytest

from console.asked.doctor import REJECTED, examine
from console.asked.status import status
from flows.catalog import Pipeline
from flows.process import limits
from flows.process.limits import RateCap, RejectedLimit, at_limit, check
from flows.stream import listener
from infra.mqtt.client import Publisher
from infra.postgres import Connection, open_pool
from infra.settings import load
from lineage.errors import RejectedError
from tasks.batch import Receipt
from tasks.look.rejected_queries import Which
from tasks.look.status import open_rejected
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import NOW, a_batch, a_way, message
from tests.fixtures.drop import dropped
from tests.fixtures.listening import SENSORS, Listeners
from tests.fixtures.waiting import until_stored

REACHED = "rejected_limit_reached"
READ = "SELECT coalesce(sum(read), 0) FROM ledger WHERE way <> 'drop'"


def limited(limit: int | None) -> Pipeline:
    return SENSORS.model_copy(update={"rejected_limit": limit})


async def test_at_its_limit_a_source_is_not_read_until_somebody_drops(
    listeners: Listeners, connection: Connection
) -> None:
    async with listeners.run(limited(3)) as listening, Publisher(listeners.broker) as publisher:
        assert listening.value(REACHED) == 0
        await publisher.publish_many([("sensors/a/readings", b"bad %d" % n) for n in range(3)])
        await listening.until("not read")
        assert listening.value(REACHED) == 1
        before = await connection.fetchval(READ)
        await publisher.publish_many([message("b", second) for second in range(60)])
        await asyncio.sleep(1)
        assert await connection.fetchval(READ) == before
        async with open_pool(listeners.dsn, application="test") as pool:
            await dropped(pool, Which(rule="payload.json"))
        await until_stored(connection, "SELECT count(*) FROM sensor_readings", 60)
        await listening.until("listening")
        assert listening.value(REACHED) == 0
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 3


async def test_a_source_is_said_to_be_read_again_though_nothing_comes(
    listeners: Listeners, connection: Connection
) -> None:
    async with listeners.run(limited(3)) as listening, Publisher(listeners.broker) as publisher:
        await publisher.publish_many([("sensors/a/readings", b"bad %d" % n) for n in range(3)])
        await listening.until("not read")
        async with open_pool(listeners.dsn, application="test") as pool:
            await dropped(pool, Which(rule="payload.json"))
        await listening.until("listening")
        assert listening.value(REACHED) == 0


async def test_a_limit_that_cannot_be_counted_stays_reached(postgres_dsn: str) -> None:
    async with a_way(postgres_dsn) as way:
        limit = RejectedLimit(way.pool, limited(3))
        limit.add(replace(receipt(3), rejected=3))
        await way.pool.execute("ALTER TABLE store.rejected RENAME TO away")
        await limit.look()
        assert limit.reached
        await way.pool.execute("ALTER TABLE store.away RENAME TO rejected")
        await limit.look()
        assert not limit.reached


@pytest.mark.parametrize(
    ("module", "age", "table"),
    [(limits, "COUNT_EVERY", "rejected"), (listener, "REGISTER_EVERY", "devices")],
)
async def test_a_listener_waits_while_what_it_looks_up_is_broken(
    listeners: Listeners,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    age: str,
    table: str,
) -> None:
    monkeypatch.setattr(module, age, 0.0)  # it is looked up for each batch
    async with listeners.run() as listening, Publisher(listeners.broker) as publisher:
        await connection.execute(f"ALTER TABLE store.{table} RENAME TO away")
        for second in range(3):
            await publisher.publish_many([message("b", second)])
            await asyncio.sleep(0.3)
        assert not listening.running.done(), listening.running.exception()
        await connection.execute(f"ALTER TABLE store.away RENAME TO {table}")
        await until_stored(connection, "SELECT count(*) FROM sensor_readings", 3)


async def test_records_that_wait_since_before_the_start_count(
    listeners: Listeners, connection: Connection
) -> None:
    async with a_way(listeners.dsn) as way:
        await way.take(a_batch(*(("sensors/a/readings", b"bad %d" % n) for n in range(3))))
    async with listeners.run(limited(3), state="not read"):
        pass
    async with listeners.run(limited(4)), Publisher(listeners.broker) as publisher:
        await publisher.publish_many([message("b", 1)])
        await until_stored(connection, "SELECT count(*) FROM sensor_readings", 1)


async def test_only_the_sources_own_records_count(postgres_dsn: str, tmp_path: Path) -> None:
    async with a_way(postgres_dsn) as way:
        await way.take(a_batch(*(("sensors/a/readings", b"bad %d" % n) for n in range(3))))
        with pytest.raises(RejectedError, match="sensors is not read: 3 rejected records wait"):
            await check(way.pool, limited(3))
        await check(way.pool, limited(4))
        await check(way.pool, limited(None))
        elsewhere = SENSORS.source.model_copy(update={"topic": "elsewhere/+"})
        await check(way.pool, limited(3).model_copy(update={"source": elsewhere}))
        assert at_limit(SHIPPED, await open_rejected(way.pool)) == ()
    found = await status(load(home=tmp_path, postgres_dsn=postgres_dsn), SHIPPED)
    assert (found.rejected_open, found.at_limit) == (3, ())
    (sentence,) = at_limit(SHIPPED, {("mqtt:sensors/+/readings", None): 1_000_000})
    assert sentence.startswith("sensors is not read: 1,000,000 rejected records wait and its limit is")


async def test_status_and_doctor_say_which_source_is_not_read(postgres_dsn: str, tmp_path: Path) -> None:
    settings = load(home=tmp_path, postgres_dsn=postgres_dsn)
    async with a_way(postgres_dsn) as way:
        await way.take(a_batch(*(("sensors/a/readings", b"bad %d" % n) for n in range(3))))
    for limit, wanted in ((4, []), (3, ["sensors is not read: 3 rejected records wait and its limit is 3"])):
        catalog = replace(SHIPPED, pipelines={**SHIPPED.pipelines, "sensors": limited(limit)})
        assert [said.partition(". ")[0] for said in (await status(settings, catalog)).at_limit] == wanted
        found = [each for each in await examine(settings, catalog) if each.part == REJECTED]
        assert [each.sentence for each in found] == wanted
        assert all(each.fix.startswith("Replay or drop them: `headwater rejected ls`") for each in found)


async def test_a_capped_source_is_read_no_faster(listeners: Listeners, connection: Connection) -> None:
    source = SENSORS.source.model_copy(update={"max_messages": 20})
    capped = SENSORS.model_copy(update={"max_per_second": 20.0, "source": source})
    async with Publisher(listeners.broker) as publisher, listeners.run(capped):
        await publisher.publish_many([message(f"d{n}", n) for n in range(60)])
        await publisher.publish_many([message(f"d{n}", n + 1) for n in range(59)])
        await until_stored(connection, "SELECT count(*) FROM sensor_readings", 119)
    # 20 come at once, 20 are paid by the full bucket, and the last 19 are paid for by nobody yet.
    took = await connection.fetchval(
        "SELECT extract(epoch FROM max(processed_at) - min(processed_at))::float FROM ledger"
    )
    assert took >= (119 - 60) / 20 * 0.95


def receipt(read: int) -> Receipt:
    return Receipt(
        batch=1,
        dataset="mqtt:x",
        accepted={"t": read},
        rejected=0,
        duplicates=0,
        filtered=0,
        read=read,
        way="fast",
        run_id=None,
        committed_at=NOW,
    )


async def test_a_cap_counts_records_and_not_batches() -> None:
    cap, began = RateCap(100.0), monotonic()
    cap.add(receipt(100))
    await cap.paid()
    cap.add(receipt(30))
    await cap.paid()
    assert monotonic() - began >= 0.29
    slow, began = RateCap(0.5), monotonic()
    slow.add(receipt(1))
    await slow.paid()
    slow.add(receipt(1))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow.paid(), 1.0)


async def test_without_a_cap_nothing_waits() -> None:
    free = RateCap(None)
    free.add(receipt(10**12))
    await asyncio.wait_for(free.paid(), 1.0)
