"""Named connections: two brokers and a Kafka in one listener are told apart, and what is wrong is told."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Producer

from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from tests.acceptance.test_listen import graph_settings, prove
from tests.fixtures.headwater import Headwater
from tests.fixtures.kafka import Topic
from tests.fixtures.mosquitto import MakeBroker
from tests.fixtures.waiting import until, until_stored

LEDGER = "SELECT pipeline, dataset, accepted::int FROM ledger WHERE read > 0 ORDER BY pipeline"
AT = "2026-11-21T08:00:00Z"


def written(root: Path, plant: str, source: dict[str, str]) -> None:
    columns = {
        "plant": {"type": "text", "constant": plant},
        "meter": {"type": "text"},
        "at": {"type": "timestamp"},
        "watts": {"type": "float"},
    }
    table = {"name": f"plant_{plant}", "key": ["meter", "at"], "time": "at", "columns": columns}
    said = {"doc": "Meters.", "owner": "us", "source": source, "table": table}
    path = root / plant / "pipeline.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(said, sort_keys=False))


@pytest.fixture
def folders(tmp_path: Path, topic: Topic) -> Path:
    """The same topic of two brokers, and one of Kafka."""
    root = tmp_path / "pipelines of ours"
    written(root, "north", {"type": "mqtt", "topic": "meters/+"})
    written(root, "south", {"type": "mqtt", "topic": "meters/+", "connection": "plant-2"})
    written(root, "west", {"type": "kafka", "topic": topic.name, "connection": "west"})
    return root


async def test_two_brokers_and_a_kafka_are_read_by_their_names_and_told_apart(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    make_mosquitto: MakeBroker,
    kafka_address: Address,
    graph_address: Address,
    topic: Topic,
    folders: Path,
) -> None:
    other = make_mosquitto()
    topic.make(2)
    listener = headwater(
        *("listen", "--pipeline", "north", "--pipeline", "south", "--pipeline", "west"),
        HEADWATER_POSTGRES_DSN=postgres_dsn,
        HEADWATER_PIPELINES=str(folders),
        HEADWATER_MQTT_URL=mqtt_address.url_with_password,
        HEADWATER_CONNECTION_PLANT_2=other.url,
        HEADWATER_CONNECTION_WEST=kafka_address.url,
    )
    await asyncio.to_thread(listener.wait_until, "listening")
    for url, watts in ((mqtt_address.url_with_password, 1.0), (other.url, 2.0)):
        async with Publisher(url) as publisher:
            await publisher.publish("meters/m", json.dumps({"meter": "m", "at": AT, "watts": watts}).encode())
    producer = Producer({"bootstrap.servers": kafka_address.url.removeprefix("kafka://")})
    producer.produce(topic.name, json.dumps({"meter": "m", "at": AT, "watts": 3.0}))
    assert producer.flush(30) == 0
    await until_stored(connection, "SELECT coalesce(sum(accepted), 0)::bigint FROM ledger", 3)
    assert listener.stop() == 0
    assert [tuple(row) for row in await connection.fetch(LEDGER)] == [
        ("north", "mqtt:meters/+", 1),
        ("south", "mqtt+plant-2:meters/+", 1),
        ("west", f"kafka+west:{topic.name}", 1),
    ]
    for plant, watts in (("north", 1.0), ("south", 2.0), ("west", 3.0)):
        assert await connection.fetchval(f"SELECT watts FROM plant_{plant}") == watts
    proof = await asyncio.to_thread(prove, headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]
    further = "UPDATE store.progress SET mark = mark::bigint + 1 WHERE part <> '' AND mark <> '0'"
    await connection.execute(further)
    proof = await asyncio.to_thread(prove, headwater, postgres_dsn, graph_address)
    assert [said for said in proof["differences"] if f"west:{topic.name}" in said]
    await connection.execute("DELETE FROM store.progress")
    full = headwater("prove", "--full", HEADWATER_POSTGRES_DSN=postgres_dsn, **graph_settings(graph_address))
    await asyncio.to_thread(full.process.wait, 60)
    assert f"west:{topic.name}" in full.log.read_text()


async def test_a_connection_that_is_not_set_or_of_another_kind_holds_up_no_other(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    folders: Path,
) -> None:
    settings = {
        "HEADWATER_POSTGRES_DSN": postgres_dsn,
        "HEADWATER_PIPELINES": str(folders),
        "HEADWATER_MQTT_URL": mqtt_address.url_with_password,
        "HEADWATER_CONNECTION_PLANT_3": "mqtt://127.0.0.1:9",
        "HEADWATER_CONNECTION_WEST": "mqtt://127.0.0.1:9",
    }
    listener = headwater("listen", **settings)
    await until(lambda: "south" in str(listener.health()), 60)
    said = listener.health()
    assert (
        "HEADWATER_CONNECTION_PLANT_2 is not set. Set it, or did you mean plant-3?" in said["not run: south"]
    )
    assert "HEADWATER_CONNECTION_WEST is mqtt, and a source of kafka names it" in said["not run: west"]
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await until(lambda: listener.health().get("north") == "listening", 60)
        await publisher.publish("meters/m", json.dumps({"meter": "m", "at": AT, "watts": 1.0}).encode())
    await until_stored(connection, "SELECT coalesce(sum(accepted), 0)::bigint FROM ledger", 1)
    assert listener.stop() == 0
    doctor = headwater("doctor", **settings)
    await asyncio.to_thread(doctor.process.wait, 90)
    found = doctor.log.read_text()
    assert "MQTT broker plant-2" in found
    assert "HEADWATER_CONNECTION_PLANT_2 is not set" in found
