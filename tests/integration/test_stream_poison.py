"""What is sent by mistake or in spite, on real brokers: rejected with its bytes, and all else is stored."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from tasks.load.raw import read_raw
from tests.acceptance.test_listen import prove
from tests.fixtures.headwater import Headwater
from tests.fixtures.waiting import until_stored

TOPIC = "sensor-readings"
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
READ = "SELECT coalesce(sum(read), 0)::bigint FROM ledger"


def body(**changed: object) -> bytes:
    return json.dumps(
        {"device_id": "d1", "timestamp": START.isoformat(), "temperature": 20.5} | changed
    ).encode()


def text(old: str, new: str) -> bytes:
    """A good reading with a piece of its text exchanged."""
    assert old in body().decode()
    return body().replace(old.encode(), new.encode())


POISON: Mapping[str, bytes] = {
    "nothing": b"",
    "a NUL byte": b"\x00",
    "a NUL byte behind": body() + b"\x00",
    "no UTF-8": b'{"device_id": "K\xfchlraum", "timestamp": "2026-11-21T08:00:00Z", "temperature": 1}',
    "UTF-16": body().decode().encode("utf-16"),
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep inside": text("20.5", "[" * 50_000 + "]" * 50_000),
    "two objects": body() + body(),
    "an array of readings": b"[" + body() + b"]",
    "a number": b"12",
    "a word": b'"word"',
    "null": b"null",
    "NaN": text("20.5", "NaN"),
    "Infinity": text("20.5", "-Infinity"),
    "1e999": text("20.5", "1e999"),
    "a number of 100,000 digits": text("20.5", "9" * 100_000),
    "a lone surrogate": text("d1", "\\ud800"),
    "NUL in a name": text("d1", "a\\u0000b"),
    "a name of 1 MB": text("d1", "d" * 1_000_000),
    "no name": text("d1", ""),
    "a name that is a number": body(device_id=7),
    "a name that is a list": body(device_id=["d1"]),
    "no time": body(timestamp=None),
    "the year 0": body(timestamp="0000-01-01T00:00:00Z"),
    "the year 99999": body(timestamp="99999-01-01T00:00:00Z"),
    "the 30th of February": body(timestamp="2026-02-30T00:00:00Z"),
    "a time of 1e300": body(timestamp=1e300),
    "a temperature in words": body(temperature="warm"),
    "a temperature in an object": body(temperature={"value": 20}),
    "8 MB of spaces": b" " * 8_000_000,
}
"""None of them is a reading."""


def good(number: int) -> bytes:
    return body(device_id=f"good{number}", timestamp=(START + timedelta(seconds=number)).isoformat())


def mixed() -> list[bytes]:
    """Good readings, and each poison between two of them."""
    return [each for n, (_, bad) in enumerate(POISON.items()) for each in (good(n), bad)]


async def assert_all_is_told(connection: Connection, also: int = 0) -> None:
    """Every good one is stored, every bad one rejected with its bytes."""
    await until_stored(connection, READ, 2 * len(POISON) + also)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == len(POISON)
    stored = await connection.fetch("SELECT DISTINCT device_id FROM sensor_readings")
    assert {row[0] for row in stored} == {f"good{n}" for n in range(len(POISON))}
    kept = set()
    for row in await connection.fetch("SELECT coalesce(raw_batch, batch) AS batch, sequence FROM rejected"):
        raw = await read_raw(connection, row["batch"])
        kept.add(raw.batch.messages["payload"][row["sequence"]])
    names = {value: name for name, value in POISON.items()}
    assert {names[each] for each in kept} == POISON.keys()


async def test_over_mqtt(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    graph_address: Address,
) -> None:
    urls = {"HEADWATER_POSTGRES_DSN": postgres_dsn, "HEADWATER_MQTT_URL": mqtt_address.url_with_password}
    listener = headwater("listen", "--pipeline", "sensors", **urls)
    await asyncio.to_thread(listener.wait_until, "listening")
    async with Publisher(mqtt_address.url_with_password) as publisher:
        for number, each in enumerate(mixed()):
            device = "d1" if number % 2 else f"good{number // 2}"
            await publisher.publish(f"sensors/{device}/readings", each)
    await assert_all_is_told(connection)
    assert listener.stop() == 0
    assert prove(headwater, postgres_dsn, graph_address)["ok"]


@pytest.fixture
def servers(kafka_address: Address) -> Iterator[dict[str, str | int]]:
    servers: dict[str, str | int] = {"bootstrap.servers": kafka_address.url.removeprefix("kafka://")}
    admin = AdminClient(servers)
    topic = NewTopic(TOPIC, 2, 1, config={"max.message.bytes": "10000000"})
    admin.create_topics([topic])[TOPIC].result(30)
    yield servers
    admin.delete_topics([TOPIC])[TOPIC].result(30)
    for group in admin.list_consumer_groups().result(30).valid:
        admin.delete_consumer_groups([group.group_id])


async def test_over_kafka(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    kafka_address: Address,
    servers: dict[str, str | int],
    graph_address: Address,
) -> None:
    """With keys that are no text, big headers, a transaction that was given up, and values that are null."""
    headers = [("big", b"\xff" * 200_000), ("", b""), ("same", b"1"), ("same", None)]
    producer = Producer({**servers, "message.max.bytes": 10_000_000, "compression.type": "zstd"})
    for number, each in enumerate(mixed()):
        producer.produce(TOPIC, each, key=b"\xff\x00" * number, headers=headers, partition=number % 2)
    producer.produce(TOPIC, None, key=b"a tombstone", partition=0)
    assert producer.flush(30) == 0
    given_up = Producer({**servers, "transactional.id": "given up"})
    given_up.init_transactions(30)
    given_up.begin_transaction()
    given_up.produce(TOPIC, good(1_000), partition=0)
    given_up.flush(30)
    given_up.abort_transaction(30)
    urls = {"HEADWATER_POSTGRES_DSN": postgres_dsn, "HEADWATER_KAFKA_URL": kafka_address.url}
    listener = headwater("listen", "--pipeline", "sensors-kafka", **urls)
    await assert_all_is_told(connection, also=1)
    del producer, given_up  # before the broker ends: they would go on to look for it
    assert listener.stop() == 0
    assert prove(headwater, postgres_dsn, graph_address)["ok"]
