"""`headwater listen --pipeline sensors-kafka` as its users run it, on a real broker, broken on purpose."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.local.addresses import Address
from infra.local.kafka_server import Kafka
from infra.postgres import Connection
from tasks.tables.tables import prepare_table
from tests.acceptance.test_listen import prove
from tests.fixtures.commit import CONTRACT
from tests.fixtures.headwater import Headwater, Process
from tests.fixtures.waiting import until, until_stored

TOPIC = "sensor-readings"
PARTITIONS = 4
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def reading(number: int) -> bytes:
    at = START + timedelta(milliseconds=number)
    return json.dumps(
        {"device_id": f"d{number % 20}", "timestamp": at.isoformat(), "temperature": 20 + number % 10}
    ).encode()


class Topic:
    """The pipeline's topic, made anew for each test."""

    def __init__(self, servers: str) -> None:
        self.servers = {"bootstrap.servers": servers}
        self._admin = AdminClient(self.servers)

    def make(self) -> None:
        self._admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)

    def drop(self) -> None:
        self._admin.delete_topics([TOPIC])[TOPIC].result(30)
        for group in self._admin.list_consumer_groups().result(30).valid:
            self._admin.delete_consumer_groups([group.group_id])

    def publish(self, first: int, end: int, payload: bytes | None = None) -> None:
        """Publish readings, or one payload, spread over the partitions; returns when all are written."""
        producer = Producer(self.servers)
        for number in range(first, end):
            producer.produce(TOPIC, payload or reading(number), partition=number % PARTITIONS)
            producer.poll(0)
        assert producer.flush(30) == 0

    def delete_before(self, offset: int) -> None:
        """As retention does."""
        places = [TopicPartition(TOPIC, partition, offset) for partition in range(PARTITIONS)]
        for done in self._admin.delete_records(places).values():
            done.result(30)

    def committed(self) -> list[int]:
        """The offsets that the group's watchers see."""
        consumer = Consumer({**self.servers, "group.id": "headwater-sensors-kafka"})
        places = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        try:
            return [place.offset for place in consumer.committed(places, 10)]
        finally:
            consumer.close()


@pytest.fixture
def topic(kafka_address: Address) -> Iterator[Topic]:
    topic = Topic(kafka_address.url.removeprefix("kafka://"))
    topic.make()
    yield topic
    topic.drop()


@pytest.fixture
def listen(headwater: Headwater, postgres_dsn: str, kafka_address: Address, topic: Topic) -> Headwater:
    def start(slot: int = 0) -> Process:
        settings = {
            "HEADWATER_POSTGRES_DSN": postgres_dsn,
            "HEADWATER_KAFKA_URL": kafka_address.url,
            "HEADWATER_SLOT": str(slot),
        }
        return headwater("listen", "--pipeline", "sensors-kafka", **settings)

    return start


READ = "SELECT sum(read)::bigint FROM ledger"
MARKS = "SELECT part, mark FROM store.progress WHERE dataset = 'kafka:sensor-readings' ORDER BY part"


async def marks(connection: Connection) -> list[str]:
    """Of each partition, after what the topic itself has."""
    begun, *partitions = await connection.fetch(MARKS)
    assert tuple(begun) == ("", "earliest")
    return [row["mark"] for row in partitions]


async def test_messages_are_stored_once_and_a_bad_one_is_rejected_where_it_stands(
    listen: Headwater, connection: Connection, topic: Topic
) -> None:
    topic.publish(0, 1_000)
    topic.publish(1, 2, b"not json")
    listener = listen()
    await until_stored(connection, READ, 1_001)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 1_000
    row = await connection.fetchrow("SELECT location, rules FROM rejected")
    assert row is not None
    assert tuple(row) == (f"{TOPIC}/1@250", ["payload.json"])
    assert await marks(connection) == ["250", "251", "250", "250"]
    assert listener.stop() == 0
    assert await asyncio.to_thread(topic.committed) == [250, 251, 250, 250]


async def test_while_the_offsets_are_broken_it_waits(
    listen: Headwater, connection: Connection, topic: Topic
) -> None:
    await connection.execute("ALTER TABLE store.progress RENAME TO away")
    topic.publish(0, 10)
    listener = listen()
    await until(lambda: "progress: refused, tried again" in listener.log.read_text(), 90.0)
    await connection.execute("ALTER TABLE store.away RENAME TO progress")
    await until_stored(connection, READ, 10)
    assert listener.stop() == 0


async def test_killed_in_the_middle_nothing_is_lost_nothing_twice_and_all_is_proven(
    listen: Headwater,
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    topic: Topic,
    graph_address: Address,
) -> None:
    total = 0
    for _ in range(3):
        listener = listen()
        before = await connection.fetchval("SELECT count(*) FROM ledger")
        publishing = asyncio.create_task(asyncio.to_thread(topic.publish, total, total + 20_000))
        total += 20_000
        await until_stored(connection, "SELECT count(*) FROM ledger", before + 1)
        listener.kill()
        await publishing
    listener = listen()
    await until_stored(connection, READ, total)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == total
    assert await connection.fetchval(READ) == total
    assert await connection.fetchval("SELECT count(*) FROM ledger WHERE way <> 'fast'") == 0
    await asyncio.to_thread(listener.wait_until, "listening")
    assert listener.stop() == 0
    proof = prove(headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]


async def test_two_listeners_share_the_partitions_and_one_dies(
    listen: Headwater, connection: Connection, topic: Topic
) -> None:
    first, second = listen(0), listen(1)
    topic.publish(0, 2_000)
    await until_stored(connection, READ, 2_000)
    for listener in (first, second):
        await asyncio.to_thread(listener.wait_until, "listening")
    publishing = asyncio.create_task(asyncio.to_thread(topic.publish, 2_000, 20_000))
    await until_stored(connection, READ, 2_001)
    second.kill()
    await publishing
    await until_stored(connection, READ, 20_000)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 20_000
    assert await connection.fetchval(READ) == 20_000
    assert first.stop() == 0


async def test_a_topic_made_anew_repeats_offsets_and_no_messages(
    listen: Headwater, connection: Connection, topic: Topic
) -> None:
    """One by one, so that the same spans of offsets come again."""
    listener = listen()
    for number in range(0, 12, PARTITIONS):
        topic.publish(number, number + 1)
        await until_stored(connection, READ, number // PARTITIONS + 1)
    assert listener.stop() == 0
    topic.drop()
    await asyncio.sleep(1)  # the broker deletes in the background
    topic.make()
    listener = listen()
    await asyncio.to_thread(listener.wait_until, "listening")
    for number in (100, 104):
        topic.publish(number, number + 1)
        await until_stored(connection, READ, 3 + (number - 96) // PARTITIONS)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 5
    assert (await marks(connection))[0] == "2"
    assert listener.stop() == 0


async def test_a_batch_that_another_consumer_overtook_is_dropped(
    listen: Headwater, connection: Connection, topic: Topic
) -> None:
    listener = listen()
    topic.publish(0, 400)
    await until_stored(connection, READ, 400)
    # As if another consumer had committed the next 50 of the first partition.
    await connection.execute("UPDATE store.progress SET mark = mark::bigint + 50 WHERE part = '0'")
    topic.publish(400, 1_200)
    await until_stored(connection, READ, 400 + 750)
    await asyncio.sleep(1)
    assert await connection.fetchval(READ) == 400 + 750
    assert "is dropped" in listener.log.read_text()
    assert set(await marks(connection)) == {"300"}
    assert listener.stop() == 0


REFUSED = """
CREATE FUNCTION store.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'this one is not welcome' USING ERRCODE = '22000'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON store.sensor_readings FOR EACH ROW
WHEN (NEW.device_id = '{device}') EXECUTE FUNCTION store.refuse()
"""
# As if another consumer had been first: the offset does not advance when it is asked for the `ask`th time.
OVERTAKEN = """
CREATE SEQUENCE store.asked;
CREATE FUNCTION store.overtake() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF nextval('store.asked') = {ask} THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER overtake BEFORE UPDATE ON store.progress FOR EACH ROW
WHEN (NEW.mark = '{end}') EXECUTE FUNCTION store.overtake()
"""


@pytest.mark.parametrize(
    ("device", "end", "ask"),
    [
        pytest.param("d12", 2, 1, id="the first half"),
        pytest.param("d12", 3, 1, id="a half after one that is committed"),
        pytest.param("d0", 1, 2, id="the record that is refused"),  # 1: as a good one, 2: as a rejected one
    ],
)
async def test_a_batch_that_is_overtaken_while_it_is_halved_is_abandoned_once_and_read_again(
    listen: Headwater, connection: Connection, topic: Topic, device: str, end: int, ask: int
) -> None:
    await prepare_table(connection, CONTRACT)
    await connection.execute(REFUSED.format(device=device) + ";" + OVERTAKEN.format(end=end, ask=ask))
    for number in range(0, 4 * PARTITIONS, PARTITIONS):
        topic.publish(number, number + 1)  # all in the first partition: one batch
    listener = listen()
    await until_stored(connection, READ, 4)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 3
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 1
    assert await connection.fetchval(READ) == 4
    assert listener.stop() == 0
    assert listener.log.read_text().count("batch abandoned") == 1


async def test_what_was_delivered_before_is_a_duplicate_when_the_offsets_are_set_back(
    listen: Headwater, connection: Connection, topic: Topic
) -> None:
    listener = listen()
    topic.publish(0, 400)
    topic.publish(0, 4, b"bad")
    await until_stored(connection, READ, 404)
    assert listener.stop() == 0
    await connection.execute("UPDATE store.progress SET mark = '50' WHERE part <> ''")
    listener = listen()
    await until_stored(connection, READ, 404 + 204)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 400
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 4
    assert await connection.fetchval("SELECT sum(duplicates)::bigint FROM ledger") == 204
    assert listener.stop() == 0


async def test_messages_deleted_before_they_were_read_are_an_alarm(
    listen: Headwater, connection: Connection, topic: Topic
) -> None:
    listener = listen()
    topic.publish(0, 400)
    await until_stored(connection, READ, 400)
    assert listener.stop() == 0
    topic.publish(400, 800)
    topic.delete_before(150)
    listener = listen()
    await until_stored(connection, READ, 400 + 200)
    assert "offsets are gone" in listener.log.read_text()
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 600
    assert listener.stop() == 0


async def test_the_example_of_the_page_is_stored(
    listen: Headwater, connection: Connection, kafka_address: Address
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (example,) = (block for block in blocks if f'"{TOPIC}"' in block)
    text = example.replace("127.0.0.1:PORT", kafka_address.url.removeprefix("kafka://"))
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", text], check=True, timeout=60)
    listener = listen()
    await until_stored(connection, READ, 1)
    assert await connection.fetchval("SELECT temperature FROM sensor_readings") == 21.5
    assert listener.stop() == 0


async def test_a_second_listener_beside_it_takes_any_free_port(
    listen: Headwater, headwater: Headwater, postgres_dsn: str, kafka_address: Address
) -> None:
    first = listen()
    await asyncio.to_thread(first.wait_until, "listening")
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
    assert "`HEADWATER_METRICS_PORT=0 headwater listen --pipeline sensors-kafka`" in page
    urls = {"HEADWATER_POSTGRES_DSN": postgres_dsn, "HEADWATER_KAFKA_URL": kafka_address.url}
    command = ("listen", "--pipeline", "sensors-kafka")
    refused = headwater(*command, **urls, HEADWATER_METRICS_PORT=str(first.port))
    assert await asyncio.to_thread(refused.process.wait, 60) == 2
    assert "; HEADWATER_METRICS_PORT=0 takes a free one." in refused.log.read_text()
    second = headwater(*command, **urls, HEADWATER_SLOT="1", HEADWATER_METRICS_PORT="0")
    await until(lambda: "serving /metrics and /health" in second.log.read_text(), 90.0)
    assert second.stop() == 0
    assert first.stop() == 0


async def test_a_broker_that_is_away_is_told_once_and_so_is_its_return(
    listen: Headwater, connection: Connection, topic: Topic, kafka: Kafka
) -> None:
    listener = listen()
    topic.publish(0, 4)
    await until_stored(connection, READ, 4)
    await asyncio.to_thread(kafka.kill)
    try:
        await until(lambda: "Kafka is away, tried again" in listener.log.read_text(), 60.0)
        await until(lambda: listener.health().get("state") == "waiting for the broker", 30.0)
        await asyncio.sleep(5)
    finally:
        await asyncio.to_thread(kafka.start)
    topic.publish(4, 8)
    await until_stored(connection, READ, 8)
    assert listener.stop() == 0
    log = listener.log.read_text()
    assert log.count("Kafka is away, tried again") == 1, log
    assert log.count("Kafka is back") == 1
    assert "FAIL" not in log
