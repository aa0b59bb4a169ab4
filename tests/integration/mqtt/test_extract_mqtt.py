"""Micro-batches from a real Mosquitto: how they close, what they carry, what happens when things break."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from pydantic import ValidationError

from infra.mqtt.client import Publisher, publish_many
from infra.mqtt.session import Session
from lineage.errors import RejectedError
from tasks.batch import MESSAGE_SCHEMA, RawBatch
from tasks.extract.mqtt import MqttSource, batches, drain, open_session
from tests.fixtures.mosquitto import NO_SAVING, Broker, MakeBroker
from tests.fixtures.wire import FakeBroker, Proxy

DATASET = "mqtt:sensors/+/readings"


def source_of(url: str, **changes: object) -> MqttSource:
    settings = {"url": url, "client_id": "listener-0", "topic": "sensors/+/readings", **changes}
    return MqttSource.model_validate(settings)


def numbered(count: int, start: int = 0) -> list[tuple[str, bytes]]:
    return [(f"sensors/d{n % 7}/readings", str(n).encode()) for n in range(start, start + count)]


def rows(taken: list[RawBatch]) -> list[tuple[str, bytes]]:
    return [row for batch in taken for row in batch.messages.rows()]


async def collect(stream: AsyncIterator[RawBatch], count: int, *, acknowledge: bool = True) -> list[RawBatch]:
    """Batches until `count` messages are there."""
    taken: list[RawBatch] = []
    async with asyncio.timeout(30):
        while sum(batch.messages.height for batch in taken) < count:
            batch = await anext(stream)
            taken.append(batch)
            if acknowledge:
                await batch.acknowledge()
    return taken


async def none_left(source: MqttSource) -> bool:
    """Whether the broker keeps nothing more for this client id."""
    async with open_session(source) as session:
        connection = await session.connect()
        await connection.ping()
        await connection.buffered(1, 1, 0.3)
        return connection.oldest_buffered is None


async def test_a_batch_is_what_was_received(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url)
    before = datetime.now(UTC)
    async with open_session(source) as session:
        stream = batches(source, session, DATASET)
        first = asyncio.create_task(collect(stream, 3))
        while not session.numbers.connects or session.connection is None:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        messages = [
            ("sensors/é/readings", b"\xff\x00{"),
            ("sensors/a/readings", b""),
            ("sensors/a/readings", b"{}"),
        ]
        await publish_many(mosquitto.url, messages)
        taken = await first
        assert rows(taken) == messages
        assert all(batch.messages.schema == MESSAGE_SCHEMA for batch in taken)
        assert {batch.dataset for batch in taken} == {DATASET}
        assert not any(batch.may_repeat for batch in taken)
        for batch in taken:
            assert before <= batch.received_at <= batch.received_until <= datetime.now(UTC)
            assert batch.received_at.tzinfo is UTC
            assert batch.position is None
    assert await none_left(source)


async def away(source: MqttSource) -> None:
    """Subscribe and leave, so that the broker collects."""
    async with open_session(source) as session:
        await session.connect()


async def test_a_batch_closes_when_it_is_full_of_messages(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url, max_messages=10, quiet="PT0.5S", max_delay="PT5S")
    await away(source)
    await publish_many(mosquitto.url, numbered(25))
    async with open_session(source) as session:
        taken = await collect(batches(source, session, DATASET), 25)
    assert [batch.messages.height for batch in taken] == [10, 10, 5]
    assert rows(taken) == numbered(25)


async def test_a_batch_closes_when_it_is_full_of_bytes(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url, max_bytes=100_000, quiet="PT0.5S", max_delay="PT5S")
    await away(source)
    sizes = [40_000, 40_000, 40_000, 500_000, 1_000]
    await publish_many(mosquitto.url, [("sensors/a/readings", bytes(size)) for size in sizes])
    async with open_session(source) as session:
        taken = await collect(batches(source, session, DATASET), 5)
    assert [batch.messages["payload"].bin.size().to_list() for batch in taken] == [
        [40_000, 40_000],
        [40_000],
        [500_000],
        [1_000],
    ]


async def test_a_batch_closes_when_its_time_is_up(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url, max_delay="PT0.3S", quiet="PT0.29S")
    await away(source)
    async with open_session(source) as session, Publisher(mosquitto.url) as publisher:

        async def trickle() -> None:
            for topic, payload in numbered(40):
                await publisher.publish(topic, payload)
                await asyncio.sleep(0.03)

        publishing = asyncio.create_task(trickle())
        taken = await collect(batches(source, session, DATASET), 40)
        await publishing
    assert rows(taken) == numbered(40)
    assert len(taken) >= 3


async def test_a_batch_closes_when_the_wire_is_quiet(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url, max_delay="PT1H", quiet="PT0.05S")
    await away(source)
    await publish_many(mosquitto.url, numbered(3))
    async with open_session(source) as session:
        (batch,) = await collect(batches(source, session, DATASET), 3)
        assert batch.messages.height == 3


async def test_a_batch_that_is_not_full_waits_for_the_one_before_it(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url, max_messages=10)
    await away(source)
    async with open_session(source) as session, Publisher(mosquitto.url) as publisher:
        stream = batches(source, session, DATASET)
        await publisher.publish_many(numbered(1))
        (first,) = await collect(stream, 1, acknowledge=False)
        following = asyncio.ensure_future(anext(stream))
        for start in (1, 4):
            await publisher.publish_many(numbered(3, start))
            await asyncio.sleep(0.2)  # four times what a batch waits for more
        assert not following.done()
        await first.acknowledge()
        second = await following
        assert rows([second]) == numbered(6, 1)
        following = asyncio.ensure_future(anext(stream))
        await publisher.publish_many(numbered(10, 7))
        assert rows([await following]) == numbered(10, 7)  # full: it waits for nobody


async def test_several_batches_are_in_flight_and_the_limit_bounds_them(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url, max_messages=10, max_unacknowledged=30)
    await away(source)
    await publish_many(mosquitto.url, numbered(20_000))
    async with open_session(source) as session:
        stream = batches(source, session, DATASET)
        held = await collect(stream, 30, acknowledge=False)
        assert len(held) == 3
        while (more := asyncio.create_task(anext(stream))) and (await asyncio.wait({more}, timeout=0.5))[0]:
            held.append(await more)
        # one read may go over the limit, but then reading stops
        assert session.unacknowledged < 10_000
        for batch in reversed(held):
            await batch.acknowledge()
        rest = [await more]
        await rest[0].acknowledge()
        rest += await collect(stream, 20_000 - len(rows(held + rest)))
    assert rows(held + rest) == numbered(20_000)
    assert await none_left(source)


async def test_what_was_not_acknowledged_comes_again_and_may_repeat(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url, max_messages=10)
    await away(source)
    await publish_many(mosquitto.url, numbered(30))
    async with open_session(source) as session:
        first, *_ = await collect(batches(source, session, DATASET), 30, acknowledge=False)
        await first.acknowledge()
    async with open_session(source) as session:
        taken = await collect(batches(source, session, DATASET), 20)
    assert rows(taken) == numbered(20, start=10)
    assert all(batch.may_repeat for batch in taken)
    assert await none_left(source)


async def test_it_reconnects_and_an_old_acknowledgement_does_nothing(mosquitto: Broker, proxy: Proxy) -> None:
    source = source_of(proxy.url, retry_delay="PT0.05S", max_retry_delay="PT0.2S")
    await away(source)
    await publish_many(mosquitto.url, numbered(10))
    async with open_session(source) as session:
        stream = batches(source, session, DATASET)
        old = await collect(stream, 10, acknowledge=False)
        proxy.cut()
        mosquitto.stop()
        asking = asyncio.create_task(collect(stream, 10, acknowledge=False))
        await asyncio.sleep(0.5)
        mosquitto.start()
        again = await asking
        assert rows(again) == rows(old)
        for batch in old:
            await batch.acknowledge()
        assert session.numbers.stale_acknowledgements == 10
        assert session.unacknowledged == 10
        assert session.numbers.reconnects >= 1
        for batch in again:
            await batch.acknowledge()
        assert session.unacknowledged == 0
    assert await none_left(source)


async def test_members_of_a_group_share_the_messages(mosquitto: Broker) -> None:
    sources = [source_of(mosquitto.url, client_id=f"listener-{n}", group="headwater") for n in (0, 1)]
    sessions = [open_session(source) for source in sources]
    taken: list[list[RawBatch]] = [[], []]

    async def listen(member: int) -> None:
        async for batch in batches(sources[member], sessions[member], DATASET):
            taken[member].append(batch)
            await batch.acknowledge()

    for source in sources:
        await away(source)
    async with asyncio.TaskGroup() as group:
        listening = [group.create_task(listen(member)) for member in (0, 1)]
        await publish_many(mosquitto.url, numbered(1_000))
        async with asyncio.timeout(20):
            while len(rows(taken[0] + taken[1])) < 1_000:  # noqa: ASYNC110 - two streams
                await asyncio.sleep(0.02)
        for task in listening:
            task.cancel()
    assert all(rows(member) for member in taken)
    assert sorted(rows(taken[0] + taken[1])) == sorted(numbered(1_000))
    for session in sessions:
        await session.close()


async def test_draining_empties_and_ends_the_session(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url, max_messages=100, max_unacknowledged=200)
    await away(source)
    await publish_many(mosquitto.url, numbered(30_000))
    taken: list[RawBatch] = []
    async with open_session(source) as session:
        async for batch in drain(source, session, DATASET, silence=timedelta(seconds=0.3)):
            if not taken:  # unsubscribed: this one is for others
                await publish_many(mosquitto.url, numbered(1, start=99_999))
            taken.append(batch)
            await batch.acknowledge()
    assert rows(taken) == numbered(30_000)
    async with open_session(source) as session:
        assert not (await session.connect()).session_present


async def test_draining_waits_for_the_last_acknowledgement(mosquitto: Broker) -> None:
    source = source_of(mosquitto.url)
    await away(source)
    await publish_many(mosquitto.url, numbered(5))
    async with open_session(source) as session:
        stream = drain(source, session, DATASET, silence=timedelta(seconds=0.1))
        taken = await collect(stream, 5, acknowledge=False)
        ending = asyncio.create_task(anext(stream, None))
        await asyncio.wait({ending}, timeout=1)
        assert not ending.done()
        for batch in taken:
            await batch.acknowledge()
        assert await ending is None


async def test_a_refused_subscription_ends_the_stream(fake_broker: FakeBroker) -> None:
    fake_broker.answer(b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x80")
    source = source_of(fake_broker.url)
    async with open_session(source) as session:
        with pytest.raises(RejectedError, match="refused"):
            await anext(batches(source, session, DATASET))


async def test_topics_that_are_no_text_are_escaped(fake_broker: FakeBroker) -> None:
    message = b"\x32\x07\x00\x03a\xff\x00\x00\x01"
    fake_broker.answer(b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x01" + message)
    source = source_of(fake_broker.url)
    session = open_session(source)
    (batch,) = await collect(batches(source, session, DATASET), 1)
    assert batch.messages["location"].to_list() == ["a\\xff\\x00"]


async def test_100_000_messages_through_batches_exactly_once(
    make_mosquitto: MakeBroker,
) -> None:
    broker = make_mosquitto(NO_SAVING)
    source = source_of(broker.url)
    await away(source)
    await publish_many(broker.url, numbered(100_000), in_flight=5_000)
    async with open_session(source) as session:
        taken = await collect(batches(source, session, DATASET), 100_000)
    messages = pl.concat([batch.messages for batch in taken])
    assert messages.rows() == numbered(100_000)
    assert max(batch.messages.height for batch in taken) <= 20_000
    assert await none_left(source)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_messages": 0},
        {"max_unacknowledged": 60_000},
        {"group": "a/b"},
        {"keepalive": "PT0S"},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_work(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        source_of("mqtt://127.0.0.1", **wrong)


def test_the_password_does_not_show() -> None:
    source = source_of("mqtt://ada:secret@127.0.0.1", group="g")
    assert "secret" not in repr(source)
    session: Session = open_session(source)
    assert session.topic_filter == "$share/g/sensors/+/readings"
