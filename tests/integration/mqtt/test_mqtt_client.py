"""Publishing, notices and the broker probe against a real Mosquitto."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from infra.doctor.mqtt_probe import probe
from infra.mqtt.client import Publisher, Subscriber, end_session, publish_many
from lineage.errors import RejectedError, SettingsError, UnavailableError
from tests.fixtures.mosquitto import NO_MEMORY, Broker, MakeBroker
from tests.fixtures.waiting import until


async def take(notices: Subscriber, count: int) -> list[tuple[str, bytes]]:
    messages = []
    async with asyncio.timeout(20):
        async for message in notices:
            messages.append(message)
            if len(messages) == count:
                break
    return messages


async def test_notices_arrive_also_those_sent_while_we_were_away(mosquitto: Broker) -> None:
    async with Subscriber(mosquitto.url, "trigger", ["robot-server/#"]) as notices:
        await publish_many(mosquitto.url, [("robot-server/runs", b"1"), ("other", b"2")])
        assert await take(notices, 1) == [("robot-server/runs", b"1")]
    await publish_many(mosquitto.url, [("robot-server/runs/a", b"3")])
    async with Subscriber(mosquitto.url, "trigger", ["robot-server/#"]) as notices:
        notice = (await take(notices, 1))[0]
        if notice == ("robot-server/runs", b"1"):  # we left before its acknowledgement did
            notice = (await take(notices, 1))[0]
        assert notice == ("robot-server/runs/a", b"3")


async def test_an_ended_session_keeps_nothing_and_those_of_others_stay(mosquitto: Broker) -> None:
    for client_id in ("old", "other"):
        async with Subscriber(mosquitto.url, client_id, ["robot-server/#"]):
            pass
    await end_session(mosquitto.url, "old")
    await publish_many(mosquitto.url, [("robot-server/runs", b"1")])
    async with Subscriber(mosquitto.url, "other", ["robot-server/#"]) as notices:
        assert await take(notices, 1) == [("robot-server/runs", b"1")]
    async with Subscriber(mosquitto.url, "old", ["other"]) as notices:
        await publish_many(mosquitto.url, [("other", b"2")])
        assert await take(notices, 1) == [("other", b"2")]


async def test_a_subscriber_reconnects_and_subscribes_again(make_mosquitto: MakeBroker) -> None:
    broker = make_mosquitto(NO_MEMORY)
    async with Subscriber(broker.url, "trigger", ["a", "b"]) as notices:
        broker.stop()
        await until(lambda: not notices.connected)
        broker.start()
        await until(lambda: notices.connected)
        await asyncio.sleep(0.5)  # the subscription's answer
        await publish_many(broker.url, [("b", b"again")])
        assert await take(notices, 1) == [("b", b"again")]
        assert notices.reconnects == 1


async def test_the_oldest_notices_are_dropped_and_counted(mosquitto: Broker) -> None:
    async with Subscriber(mosquitto.url, "trigger", ["a"], queue_size=3) as notices:
        await publish_many(mosquitto.url, [("a", str(number).encode()) for number in range(10)])
        await asyncio.sleep(0.5)
        assert notices.dropped == 7
        assert [payload for _, payload in await take(notices, 3)] == [b"7", b"8", b"9"]


async def test_a_refusal_is_the_last_that_is_taken_however_much_comes_after_it(mosquitto: Broker) -> None:
    async with Subscriber(mosquitto.url, "trigger", ["a"], queue_size=1) as notices:
        notices._put(RejectedError("access was withdrawn"))
        await publish_many(mosquitto.url, [("a", b"late")])
        await asyncio.sleep(0.5)
        with pytest.raises(RejectedError, match="withdrawn"):
            await take(notices, 1)


async def test_a_refused_connection(make_mosquitto: MakeBroker) -> None:
    denied = make_mosquitto("allow_anonymous false")
    with pytest.raises(RejectedError, match="refused the connection"):
        await Subscriber(denied.url, "trigger", ["allowed"]).__aenter__()


@pytest.mark.parametrize("client", [lambda url: Publisher(url), lambda url: Subscriber(url, "t", ["a"])])
async def test_nobody_there(client: Callable[[str], Publisher | Subscriber]) -> None:
    with pytest.raises(UnavailableError):
        await client("mqtt://127.0.0.1:9").__aenter__()


async def test_a_message_that_cannot_be_published(mosquitto: Broker) -> None:
    async with Publisher(mosquitto.url) as publisher:
        with pytest.raises(RejectedError, match="cannot be published"):
            await publisher.publish("a/+", b"")


async def test_publishing_to_a_broker_that_is_away(mosquitto: Broker) -> None:
    async with Publisher(mosquitto.url, patience=timedelta(seconds=1)) as publisher:
        await publisher.publish("a", b"1")
        mosquitto.stop()
        with pytest.raises(UnavailableError, match="not acknowledged"):
            await publisher.publish("a", b"2")


async def test_a_message_published_while_the_broker_restarts_arrives(mosquitto: Broker) -> None:
    async with Subscriber(mosquitto.url, "trigger", ["a"]) as notices, Publisher(mosquitto.url) as publisher:
        mosquitto.stop()
        publishing = asyncio.create_task(publisher.publish("a", b"late"))
        await asyncio.sleep(0.2)
        mosquitto.start()
        await publishing
        assert await take(notices, 1) == [("a", b"late")]


async def test_a_good_broker_has_no_findings(mosquitto: Broker) -> None:
    facts = await probe(mosquitto.url)
    assert facts.findings == ()
    assert facts.reachable
    assert facts.session_kept
    assert facts.published == facts.returned == facts.in_flight == 1_500
    assert facts.version is not None
    assert "mosquitto" in facts.version


async def test_a_broker_with_small_limits_is_found_out(make_mosquitto: MakeBroker) -> None:
    broker = make_mosquitto("max_inflight_messages 20", "max_queued_messages 1000")
    facts = await probe(broker.url)
    assert facts.session_kept
    assert 1_000 <= facts.returned < 1_100
    assert facts.in_flight == 20
    assert len(facts.findings) == 2
    assert "max_queued_messages" in facts.findings[0]
    assert "max_inflight_messages" in facts.findings[1]


async def test_no_broker_is_a_finding() -> None:
    facts = await probe("mqtt://user:secret@127.0.0.1:9")
    assert not facts.reachable
    assert len(facts.findings) == 1
    assert "secret" not in str(facts)
    with pytest.raises(SettingsError):
        await probe("redis://host")
