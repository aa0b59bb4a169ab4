"""The session against a real Mosquitto, broken on purpose."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from infra.mqtt import frames
from infra.mqtt.address import Tls
from infra.mqtt.client import Publisher, publish_many
from infra.mqtt.connection import Connection, Delivery, Limits
from infra.mqtt.session import Session
from lineage.errors import RejectedError, SettingsError, UnavailableError
from tests.fixtures.mosquitto import NO_MEMORY, NO_SAVING, Broker, MakeBroker
from tests.fixtures.wire import FakeBroker, Proxy

FILTER = "sensors/+/readings"
TOPIC = "sensors/d1/readings"
ACCEPTED = b"\x20\x02\x00\x00"  # CONNACK
GRANTED = b"\x90\x03\x00\x01\x01"  # SUBACK, QoS 1


def numbered(count: int, start: int = 0) -> list[tuple[str, bytes]]:
    return [(TOPIC, str(number).encode()) for number in range(start, start + count)]


async def receive(connection: Connection, count: int) -> list[Delivery]:
    """Take until `count` messages are there; fails after 20 s without one."""
    deliveries: list[Delivery] = []
    while (left := count - sum(len(delivery.publishes) for delivery in deliveries)) > 0:
        await connection.buffered(1, 1, 20)
        delivery = connection.take(left, 1 << 30)
        assert delivery is not None, f"{left} of {count} messages are missing ({connection.lost})"
        deliveries.append(delivery)
    return deliveries


def payloads(deliveries: list[Delivery]) -> list[bytes]:
    return [payload for delivery in deliveries for payload in delivery.publishes.payloads]


async def settle(connection: Connection, *, quiet: float = 0.3) -> None:
    """Nothing more may come."""
    await connection.ping()
    await connection.buffered(1, 1, quiet)
    assert connection.oldest_buffered is None


async def until_lost(connection: Connection) -> None:
    await connection.buffered(1 << 30, 1 << 60, 20)
    assert connection.lost is not None


@pytest.fixture
async def session(mosquitto: Broker) -> AsyncIterator[Session]:
    async with Session(mosquitto.url, "slot-1", FILTER) as session:
        yield session


async def test_messages_arrive_in_order_and_are_gone_after_acknowledgement(
    mosquitto: Broker, session: Session
) -> None:
    connection = await session.connect()
    await publish_many(mosquitto.url, numbered(1_000))
    deliveries = await receive(connection, 1_000)
    assert payloads(deliveries) == [payload for _, payload in numbered(1_000)]
    assert not any(delivery.may_repeat for delivery in deliveries)
    assert session.unacknowledged == 1_000
    assert session.oldest_unacknowledged(asyncio.get_running_loop().time()) > 0
    for delivery in deliveries:
        delivery.acknowledge()
    assert session.unacknowledged == 0
    assert session.numbers.acknowledged == 1_000
    await session.close()
    connection = await session.connect()
    assert connection.session_present
    await settle(connection)


async def test_100_000_messages_come_exactly_once(make_mosquitto: MakeBroker) -> None:
    broker = make_mosquitto(NO_SAVING)
    session = Session(broker.url, "slot-1", FILTER)
    await session.connect()
    await session.close()
    await publish_many(broker.url, numbered(100_000), in_flight=5_000)
    connection = await session.connect()
    seen: list[bytes] = []
    while len(seen) < 100_000:
        (delivery, *_) = await receive(connection, 1)
        seen += delivery.publishes.payloads
        more = connection.take(20_000, 1 << 30)
        for taken in filter(None, (delivery, more)):
            taken.acknowledge()
        seen += more.publishes.payloads if more is not None else []
        assert connection.unacknowledged <= 60_000
    assert seen == [str(number).encode() for number in range(100_000)]
    await session.close()
    connection = await session.connect()
    await settle(connection)
    assert session.numbers.received == session.numbers.acknowledged == 100_000
    await session.close()


@pytest.mark.parametrize("kill", [False, True])
async def test_a_broker_that_restarts_sends_again_what_was_not_acknowledged(
    mosquitto: Broker, session: Session, kill: bool
) -> None:
    connection = await session.connect()
    await publish_many(mosquitto.url, numbered(50))
    deliveries = await receive(connection, 50)
    if kill:
        mosquitto.save()
        mosquitto.kill()
    else:
        mosquitto.stop()
    await until_lost(connection)
    with pytest.raises(UnavailableError):
        await session.connect()
    mosquitto.start()
    connection = await session.connect()
    again = await receive(connection, 50)
    assert payloads(again) == payloads(deliveries)
    assert all(delivery.may_repeat for delivery in again)
    for delivery in deliveries:
        delivery.acknowledge()
    assert session.numbers.stale_acknowledgements == 50
    assert session.unacknowledged == 50
    assert session.numbers.reconnects == 1
    assert session.numbers.sessions_lost == 0


async def test_a_broker_that_forgot_our_acknowledgements_repeats(mosquitto: Broker, session: Session) -> None:
    connection = await session.connect()
    await publish_many(mosquitto.url, numbered(50))
    await connection.buffered(50, 1 << 30, 20)
    mosquitto.save()
    for delivery in await receive(connection, 50):
        assert not delivery.may_repeat
        delivery.acknowledge()
    await connection.ping()
    mosquitto.kill()
    mosquitto.start()
    await until_lost(connection)
    again = await receive(await session.connect(), 50)
    assert payloads(again) == [payload for _, payload in numbered(50)]
    assert all(delivery.may_repeat for delivery in again)


async def test_late_acknowledgements_do_not_destroy_the_messages_of_a_new_session(
    make_mosquitto: MakeBroker,
) -> None:
    broker = make_mosquitto(NO_MEMORY)
    session = Session(broker.url, "slot-1", FILTER)
    connection = await session.connect()
    await publish_many(broker.url, numbered(100))
    old = await receive(connection, 100)
    broker.stop()
    await until_lost(connection)
    broker.start()
    connection = await session.connect()
    await publish_many(broker.url, numbered(100, start=1_000))
    new = await receive(connection, 100)
    assert set(packet_ids(old)) & set(packet_ids(new)), "the broker did not reuse packet ids"
    for delivery in old:
        delivery.acknowledge()
    assert session.numbers.stale_acknowledgements == 100
    assert session.numbers.sessions_lost == 1
    await session.close()
    connection = await session.connect()
    assert payloads(await receive(connection, 100)) == payloads(new)
    await session.close()


def packet_ids(deliveries: list[Delivery]) -> list[int]:
    return [number for delivery in deliveries for number in delivery.publishes.packet_ids]


async def test_a_session_that_an_earlier_process_had_and_is_gone_is_an_alarm(mosquitto: Broker) -> None:
    async with Session(mosquitto.url, "slot-1", FILTER, expected=True) as session:
        await session.connect()
        assert session.numbers.sessions_lost == 1
    async with Session(mosquitto.url, "slot-1", FILTER, expected=True) as session:
        await session.connect()
        assert session.numbers.sessions_lost == 0


async def test_acknowledgements_leave_in_order_of_receipt(mosquitto: Broker, proxy: Proxy) -> None:
    async with Session(proxy.url, "slot-1", FILTER) as session:
        connection = await session.connect()
        await publish_many(mosquitto.url, numbered(30))
        await connection.buffered(30, 1 << 30, 20)
        first, second, third = (connection.take(10, 1 << 30) for _ in range(3))
        assert first is not None
        assert second is not None
        assert third is not None
        before = len(proxy.sent[0])
        third.acknowledge()
        second.acknowledge()
        await connection.ping()
        assert proxy.sent[0][before:] == frames.PINGREQ
        assert connection.unacknowledged == 30
        first.acknowledge()
        first.acknowledge()
        await connection.ping()
        expected = frames.pubacks(packet_ids([first, second, third]))
        assert proxy.sent[0][before:] == frames.PINGREQ + expected + frames.PINGREQ
        assert connection.unacknowledged == 0


async def test_reading_pauses_longer_than_the_keep_alive_and_the_connection_stands(
    mosquitto: Broker,
) -> None:
    keepalive = timedelta(seconds=2)
    limits = Limits(messages=100)
    async with Session(mosquitto.url, "slot-1", FILTER, keepalive=keepalive, limits=limits) as session:
        connection = await session.connect()
        await publish_many(mosquitto.url, numbered(20_000))
        await connection.buffered(100, 1 << 30, 20)
        held = connection.unacknowledged
        await asyncio.sleep(5)
        assert connection.lost is None
        assert session.numbers.pauses == 1
        assert connection.unacknowledged == held < 10_000
        seen = []
        while len(seen) < 20_000:
            (delivery, *_) = await receive(connection, 1)
            delivery.acknowledge()
            rest = connection.take(20_000, 1 << 30)
            seen += delivery.publishes.payloads
            if rest is not None:
                rest.acknowledge()
                seen += rest.publishes.payloads
        assert seen == [payload for _, payload in numbered(20_000)]
        assert session.numbers.pauses > 1
        assert session.numbers.connects == 1


async def test_reading_pauses_at_the_limit_in_bytes(mosquitto: Broker) -> None:
    async with Session(mosquitto.url, "slot-1", FILTER, limits=Limits(size=1_000_000)) as session:
        connection = await session.connect()
        await publish_many(mosquitto.url, [(TOPIC, bytes(200_000)) for _ in range(20)])
        await connection.buffered(20, 1 << 30, 1)
        assert 1_000_000 <= connection.unacknowledged_size < 1_300_000
        for _ in range(20):
            for delivery in await receive(connection, 1):
                delivery.acknowledge()
        assert connection.unacknowledged_size == 0
        assert session.numbers.received == 20


async def test_a_silent_broker_is_noticed(fake_broker: FakeBroker) -> None:
    fake_broker.answer(ACCEPTED, GRANTED)
    session = Session(fake_broker.url, "slot-1", FILTER, keepalive=timedelta(seconds=1))
    connection = await session.connect()
    await until_lost(connection)
    assert "nothing was heard" in str(connection.lost)


async def test_the_answer_to_a_keep_alive_is_no_answer_to_a_ping(fake_broker: FakeBroker) -> None:
    keep_alive_seen, queued = publish(b"seen", 1), publish(b"queued", 2)
    pong = b"\xd0\x00"
    fake_broker.answer(ACCEPTED, GRANTED, keep_alive_seen, pong, queued + pong)
    session = Session(fake_broker.url, "slot-1", FILTER, keepalive=timedelta(seconds=2))
    connection = await session.connect()
    assert payloads(await receive(connection, 1)) == [b"seen"]
    await connection.ping()
    assert connection.oldest_buffered is not None, "the broker had not handled what we sent before"
    assert payloads(await receive(connection, 1)) == [b"queued"]
    connection.abort("the test is over")


def publish(payload: bytes, packet_id: int) -> bytes:
    body = len(TOPIC).to_bytes(2) + TOPIC.encode() + packet_id.to_bytes(2) + payload
    return b"\x32" + frames.remaining_length(len(body)) + body


@pytest.mark.parametrize("piece", [1, 7])
async def test_packets_cut_anywhere(mosquitto: Broker, proxy: Proxy, piece: int) -> None:
    proxy.piece = piece
    async with Session(proxy.url, "slot-1", FILTER) as session:
        connection = await session.connect()
        messages = [(f"sensors/{'d' * (n % 90)}/readings", bytes(n)) for n in range(250)]
        await publish_many(mosquitto.url, messages)
        deliveries = await receive(connection, 250)
        topics = [topic for delivery in deliveries for topic in delivery.publishes.topics]
        assert list(zip(topics, payloads(deliveries), strict=True)) == [
            (topic.encode(), payload) for topic, payload in messages
        ]


async def test_what_was_read_before_a_loss_can_still_be_taken(mosquitto: Broker, proxy: Proxy) -> None:
    async with Session(proxy.url, "slot-1", FILTER) as session:
        connection = await session.connect()
        await publish_many(mosquitto.url, numbered(10))
        await connection.buffered(10, 1 << 30, 20)
        proxy.cut()
        await until_lost(connection)
        (delivery,) = await receive(connection, 10)
        delivery.acknowledge()
        assert session.numbers.stale_acknowledgements == 10
        again = await session.connect()
        assert payloads(await receive(again, 10)) == payloads([delivery])


async def test_a_payload_of_one_megabyte(mosquitto: Broker, session: Session) -> None:
    payload = bytes(range(256)) * 4096
    connection = await session.connect()
    await publish_many(mosquitto.url, [(TOPIC, b"before"), (TOPIC, payload), (TOPIC, b"after")])
    assert payloads(await receive(connection, 3)) == [b"before", payload, b"after"]


async def test_qos_0_is_delivered_and_counted(mosquitto: Broker, session: Session) -> None:
    connection = await session.connect()
    async with Publisher(mosquitto.url) as publisher:
        await publisher.publish(TOPIC, b"zero", qos=0)
        await publisher.publish(TOPIC, b"one", qos=1)
    deliveries = await receive(connection, 2)
    assert payloads(deliveries) == [b"zero", b"one"]
    for delivery in deliveries:
        delivery.acknowledge()
    assert session.numbers.qos0 == 1
    assert session.numbers.acknowledged == 1
    assert session.unacknowledged == 0


async def test_retained_messages_may_repeat(mosquitto: Broker, session: Session) -> None:
    async with Publisher(mosquitto.url) as publisher:
        await publisher.publish(TOPIC, b"kept", retain=True)
    (delivery,) = await receive(await session.connect(), 1)
    assert delivery.may_repeat


async def test_after_the_window_only_marked_messages_may_repeat(mosquitto: Broker) -> None:
    async with Session(mosquitto.url, "slot-1", FILTER, repeat_window=timedelta(0)) as session:
        connection = await session.connect()
        await publish_many(mosquitto.url, numbered(10))
        await receive(connection, 10)
        await session.close()
        connection = await session.connect()
        (marked,) = await receive(connection, 10)
        await publish_many(mosquitto.url, numbered(10, start=10))
        (fresh, *_) = await receive(connection, 10)
        assert marked.may_repeat
        assert not fresh.may_repeat


@pytest.mark.parametrize(("code", "word"), [(0x00, "QoS 0"), (0x80, "refused")])
async def test_a_subscription_that_would_lose_messages_is_refused(
    fake_broker: FakeBroker, code: int, word: str
) -> None:
    fake_broker.answer(ACCEPTED, GRANTED[:-1] + bytes((code,)))
    with pytest.raises(RejectedError, match=word):
        await Session(fake_broker.url, "slot-1", FILTER).connect()


MESSAGES = b"\x32\x05\x00\x01a\x00\x01" * 20


@pytest.mark.parametrize("first", [(ACCEPTED, MESSAGES), (ACCEPTED + MESSAGES,)])
async def test_a_refusal_behind_more_messages_than_the_limits_let_us_read(
    fake_broker: FakeBroker, first: tuple[bytes, ...]
) -> None:
    fake_broker.answer(*first, GRANTED[:-1] + b"\x80")
    session = Session(fake_broker.url, "slot-1", FILTER, limits=Limits(messages=10))
    connection = await session.connect()
    for delivery in await receive(connection, 20):
        delivery.acknowledge()
    await until_lost(connection)
    assert isinstance(connection.lost, RejectedError)


async def test_what_is_not_a_broker_is_refused_for_good(fake_broker: FakeBroker) -> None:
    fake_broker.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 200)
    with pytest.raises(RejectedError, match="first byte 0x48"):
        await Session(fake_broker.url, "slot-1", FILTER).connect()


@pytest.mark.parametrize(
    ("code", "error"), [(1, RejectedError), (2, RejectedError), (3, UnavailableError), (5, RejectedError)]
)
async def test_a_refused_connection(fake_broker: FakeBroker, code: int, error: type[Exception]) -> None:
    fake_broker.answer(b"\x20\x02\x00" + bytes((code,)))
    with pytest.raises(error):
        await Session(fake_broker.url, "slot-1", FILTER).connect()


async def deliver(session: Session) -> None:
    """Connect and wait for the loss, which may come before the subscription is answered."""
    connection = await session.connect()
    await until_lost(connection)
    assert connection.lost is not None
    raise connection.lost


async def test_a_broken_frame_later_is_a_lost_connection(fake_broker: FakeBroker) -> None:
    fake_broker.answer(ACCEPTED, GRANTED + b"\x32\x02\x00\x00")
    with pytest.raises(UnavailableError, match="PUBLISH frame"):
        await deliver(Session(fake_broker.url, "slot-1", FILTER))


@pytest.fixture
def guarded(make_mosquitto: MakeBroker, tmp_path: Path) -> Broker:
    passwords = tmp_path / "passwords"
    program = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
    subprocess.run([program, "-c", "-b", str(passwords), "ada", "p@ss:word"], check=True)
    passwords.chmod(0o644)
    return make_mosquitto("allow_anonymous false", f"password_file {passwords}")


async def test_user_and_password_are_in_the_url_and_in_no_error(guarded: Broker) -> None:
    url = guarded.url.replace("mqtt://", "mqtt://ada:p%40ss%3Aword@")
    async with Session(url, "slot-1", FILTER) as session:
        await session.connect()
        assert "p@ss" not in repr(session.address) + str(session.address)
    wrong = Session(guarded.url.replace("mqtt://", "mqtt://ada:secret@"), "slot-1", FILTER)
    with pytest.raises(RejectedError, match="refused the connection") as caught:
        await wrong.connect()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://host", "mqtt://", "host:1883", "mqtt://h:port"])
async def test_urls_that_name_no_broker(url: str) -> None:
    with pytest.raises(SettingsError):
        Session(url, "a", FILTER)


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="is unavailable"):
        await Session("mqtt://127.0.0.1:9", "a", FILTER).connect()


async def test_a_broker_that_asks_who_we_are(make_mosquitto: MakeBroker, certificate: Path) -> None:
    key = certificate.with_suffix(".key")
    broker = make_mosquitto(
        listener=[
            f"certfile {certificate}",
            f"keyfile {key}",
            f"cafile {certificate}",
            "require_certificate true",
        ]
    )
    url = broker.url.replace("mqtt://", "mqtts://")
    async with Session(
        url, "slot-1", FILTER, tls=Tls(ca=certificate, certificate=certificate, key=key)
    ) as known:
        await known.connect()
    with pytest.raises(UnavailableError):
        await Session(url, "slot-2", FILTER, tls=Tls(ca=certificate)).connect()


async def test_tls(make_mosquitto: MakeBroker, certificate: Path) -> None:
    broker = make_mosquitto(
        listener=[f"certfile {certificate}", f"keyfile {certificate.with_suffix('.key')}"]
    )
    url = broker.url.replace("mqtt://", "mqtts://")
    async with Session(
        url, "slot-1", FILTER, tls=Tls(ca=certificate), limits=Limits(messages=500)
    ) as session:
        connection = await session.connect()
        async with Publisher(url, tls=Tls(ca=certificate)) as publisher:
            await publisher.publish_many([(TOPIC, bytes(1_000_000)), *numbered(5_000)])
        seen = 0
        while seen < 5_001:
            for delivery in await receive(connection, 1):
                seen += len(delivery.publishes)
                delivery.acknowledge()
        assert session.numbers.pauses > 0
    with pytest.raises(RejectedError, match="CA file"):
        await Session(url, "slot-1", FILTER).connect()


async def test_ending_a_session_makes_the_broker_forget_it(mosquitto: Broker, session: Session) -> None:
    connection = await session.connect()
    await publish_many(mosquitto.url, numbered(5))
    await receive(connection, 5)
    await session.end()
    connection = await session.connect()
    assert not connection.session_present
    assert session.numbers.sessions_lost == 0
    await settle(connection)
