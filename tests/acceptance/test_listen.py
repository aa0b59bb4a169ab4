"""`headwater listen` and `headwater relay` as their users run them, on real services."""

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.stream.slot import KIND
from infra.graph import open_graph
from infra.local.addresses import Address
from infra.local.postgres import Postgres
from infra.migrate import migrate
from infra.mqtt.client import Publisher
from infra.postgres import Connection, connect
from infra.postgres_lock import PostgresLock
from lineage.projection import digest
from tests.fixtures.graph import endpoint_of, graph_settings
from tests.fixtures.headwater import Headwater, Process
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.waiting import until, until_stored

LOCKS = (
    "pg_stat_activity WHERE application_name = 'headwater lock headwater-sensors-0' "
    "AND datname = current_database()"
)
CUT = f"SELECT pg_terminate_backend(pid) FROM {LOCKS}"
HELD = f"SELECT count(*) FROM {LOCKS}"
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def reading(number: int, devices: int = 20) -> tuple[str, bytes]:
    device = f"d{number % devices}"
    at = START + timedelta(milliseconds=number)
    body = {"device_id": device, "timestamp": at.isoformat(), "temperature": 20 + number % 10, "n": number}
    return f"sensors/{device}/readings", json.dumps(body).encode()


@pytest.fixture
def listen(headwater: Headwater, postgres_dsn: str, mqtt_address: Address) -> Headwater:
    def start(*arguments: str) -> Process:
        urls = {"HEADWATER_POSTGRES_DSN": postgres_dsn, "HEADWATER_MQTT_URL": mqtt_address.url_with_password}
        return headwater("listen", "--pipeline", "sensors", *arguments, **urls)

    return start


async def test_what_is_published_is_stored_once_and_counted(
    listen: Headwater, connection: Connection, mqtt_address: Address
) -> None:
    listener = listen()
    listener.wait_until("listening")
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([reading(n) for n in range(500)])
        await publisher.publish("sensors/d1/readings", b"not json")
        await publisher.publish_many([reading(0)])
    await until_stored(connection, "SELECT sum(read) FROM ledger", 502)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 500
    assert await connection.fetchval("SELECT rules FROM rejected") == ["payload.json"]
    metrics = listener.get("/metrics")
    assert 'processed_records_total{source="sensors",status="accepted"} 500.0' in metrics
    assert 'processed_records_total{source="sensors",status="duplicate"} 1.0' in metrics
    assert listener.stop() == 0


async def test_killed_in_the_middle_nothing_is_lost_nothing_twice_and_all_is_proven(
    listen: Headwater,
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    graph_address: Address,
) -> None:
    listener = listen()
    listener.wait_until("listening")
    enough = asyncio.Event()
    async with Publisher(mqtt_address.url_with_password) as publisher:
        publishing = asyncio.create_task(publish_until(enough, publisher))
        for _ in range(3):
            before = await connection.fetchval("SELECT count(*) FROM ledger")
            await until_stored(connection, "SELECT count(*) FROM ledger", before + 3)
            listener.kill()
            listener = listen()
            await asyncio.to_thread(listener.wait_until, "listening")
        enough.set()
        total = await publishing
    await until_stored(connection, "SELECT count(*) FROM sensor_readings", total)
    assert listener.stop() == 0
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == total
    assert await connection.fetchval("SELECT sum(rows)::bigint FROM ledger_outputs") == total
    proof = prove(headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]
    assert proof["rows"] == total
    assert proof["batches"] == await connection.fetchval("SELECT count(*) FROM ledger")
    assert proof["edges"] == await connection.fetchval("SELECT count(*) FROM lineage_log")


def prove(headwater: Headwater, dsn: str, graph: Address) -> dict[str, Any]:
    """What `headwater prove --json` prints."""
    process = headwater("prove", "--json", HEADWATER_POSTGRES_DSN=dsn, **graph_settings(graph))
    process.process.wait(60)
    found: dict[str, Any] = json.loads(process.log.read_text().splitlines()[-1])
    assert process.process.returncode == (0 if found["ok"] else 1)
    return found


async def publish_until(enough: asyncio.Event, publisher: Publisher) -> int:
    """Publish readings at a steady rate until it is enough; how many."""
    count = 0
    while not enough.is_set():
        count += await publisher.publish_many([reading(n) for n in range(count, count + 200)])
        await asyncio.sleep(0.05)
    return count


async def test_two_listeners_of_one_stream_store_each_reading_once(
    headwater: Headwater, connection: Connection, postgres_dsn: str, mqtt_address: Address
) -> None:
    urls = {"HEADWATER_POSTGRES_DSN": postgres_dsn, "HEADWATER_MQTT_URL": mqtt_address.url_with_password}
    listeners = [
        headwater("listen", "--pipeline", "sensors", **urls, HEADWATER_SLOT=slot) for slot in ("0", "1")
    ]
    for listener in listeners:
        await asyncio.to_thread(listener.wait_until, "listening")
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([reading(n) for n in range(1_000)])
    await until_stored(connection, "SELECT count(*) FROM sensor_readings", 1_000)
    assert [listener.stop() for listener in listeners] == [0, 0]
    books = await connection.fetchrow("SELECT sum(read) AS read, sum(duplicates) AS same FROM ledger")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 1_000
    assert books["read"] - books["same"] == 1_000  # without a group both may read all of it


async def test_leaving_takes_what_is_kept_and_ends_the_session(
    listen: Headwater, connection: Connection, mqtt_address: Address
) -> None:
    listener = listen()
    listener.wait_until("listening")
    assert listener.stop() == 0
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([reading(n) for n in range(100)])
    leaving = listen("--drain")
    assert await asyncio.to_thread(leaving.process.wait, 60) == 0, leaving.log.read_text()
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 100
    assert await connection.fetchval("SELECT left_at IS NOT NULL FROM store.listeners")


async def test_a_slot_has_one_listener(
    listen: Headwater, connection: Connection, mqtt_address: Address
) -> None:
    first = listen()
    first.wait_until("listening")
    for arguments in ((), ("--drain",)):
        second = listen(*arguments)
        assert await asyncio.to_thread(second.process.wait, 60) == 2
        assert "Slot 0 is taken" in second.log.read_text()
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([reading(n) for n in range(10)])
    await until_stored(connection, "SELECT sum(read) FROM ledger", 10)
    assert "connection lost" not in first.log.read_text()
    assert await connection.fetchval("SELECT left_at IS NULL FROM store.listeners")


async def test_a_listener_whose_slot_was_taken_while_postgres_was_away_ends(
    listen: Headwater, connection: Connection, postgres_dsn: str
) -> None:
    first = listen()
    first.wait_until("listening")
    await connection.execute(CUT)
    await until_stored(connection, HELD, 1)  # taken again
    other = PostgresLock(postgres_dsn, KIND, "headwater-sensors-0")
    while not await other.hold():
        await connection.execute(CUT)
    assert await asyncio.to_thread(first.process.wait, 60) == 2
    assert "Slot 0 is taken" in first.log.read_text()
    other.release()


async def test_the_relay_makes_the_graph_what_the_log_says(
    listen: Headwater,
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    graph_address: Address,
) -> None:
    listener = listen()
    listener.wait_until("listening")
    relay = headwater("relay", HEADWATER_POSTGRES_DSN=postgres_dsn, **graph_settings(graph_address))
    relay.wait_until("carrying")
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([reading(n) for n in range(50)])
    await until_stored(connection, "SELECT count(*) FROM sensor_readings", 50)
    entries = await connection.fetchval("SELECT count(*) FROM lineage_log")
    carried = "SELECT sum(total) FROM store.lineage_seals JOIN store.relay_cursors USING (seal)"
    await until_stored(connection, carried, entries)
    assert relay.stop() == 0
    async with open_graph(endpoint_of(graph_address)) as graph:
        assert digest(await in_graph(graph)) == digest(await of_log(connection))
    await connection.execute("UPDATE store.sensor_readings SET temperature = 99 WHERE device_id = 'd7'")
    proof = prove(headwater, postgres_dsn, graph_address)
    assert not proof["ok"]
    assert any("sensor_readings" in difference for difference in proof["differences"])


async def test_the_relay_outlives_a_local_postgres_that_dies(
    headwater: Headwater, tmp_path: Path, graph_address: Address
) -> None:
    home = tmp_path / "home"  # where `headwater` finds its local services
    service = Postgres(home)
    address = service.start()
    connection = await connect(address.url_with_password, application="test")
    try:
        await migrate(connection)
        relay = headwater("relay", **graph_settings(graph_address))
        relay.wait_until("carrying")
        psutil.Process(address.pid).kill()  # and its address stays, as after a power cut
        await until(lambda: "no local one is running" in relay.log.read_text(), patience=120)
        assert relay.process.poll() is None
        await asyncio.to_thread(service.start)
        await asyncio.to_thread(relay.wait_until, "carrying", 120)
        assert relay.stop() == 0
    finally:
        connection.terminate()
        service.stop()


async def test_a_message_that_postgres_refuses_is_rejected_alone(
    listen: Headwater, connection: Connection, mqtt_address: Address
) -> None:
    listener = listen()
    listener.wait_until("listening")
    await connection.execute(
        "ALTER TABLE store.sensor_readings ADD CONSTRAINT not_welcome CHECK (device_id <> 'd7')"
    )
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([reading(n) for n in range(100)])
    await until_stored(connection, "SELECT sum(read) FROM ledger", 100)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 95
    rows = await connection.fetch("SELECT location, stage, rules, message FROM rejected")
    assert len(rows) == 5
    for row in rows:
        assert row["location"] == "sensors/d7/readings"
        assert (row["stage"], row["rules"]) == ("load", ["load.refused"])
        assert "not_welcome" in row["message"]
    assert listener.stop() == 0


async def test_what_was_stored_before_postgres_refused_its_like_is_not_rejected_when_it_comes_again(
    listen: Headwater, connection: Connection, mqtt_address: Address
) -> None:
    listener = listen()
    listener.wait_until("listening")
    readings = [reading(n) for n in range(30)]
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many(readings)
        await until_stored(connection, "SELECT sum(read) FROM ledger", 30)
        await connection.execute(
            "ALTER TABLE store.sensor_readings ADD CONSTRAINT not_welcome CHECK (device_id <> 'd7') NOT VALID"
        )
        await publisher.publish_many([*readings, reading(47)])
    await until_stored(connection, "SELECT sum(read) FROM ledger", 61)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 30
    assert await connection.fetchval("SELECT sum(duplicates) FROM ledger") == 30
    row = await connection.fetchrow("SELECT table_name, key, rules FROM rejected")
    assert row is not None
    assert (row["table_name"], row["rules"]) == ("sensor_readings", ["load.refused"])
    assert '"device_id":"d7"' in row["key"]
    assert listener.stop() == 0


BROKEN = {
    "a column renamed": (
        "ALTER TABLE store.sensor_readings RENAME COLUMN pressure TO druck",
        "ALTER TABLE store.sensor_readings RENAME COLUMN druck TO pressure",
    ),
    "a trigger that fails": (
        "CREATE FUNCTION store.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'closed today'; END $$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON store.sensor_readings FOR EACH ROW "
        "EXECUTE FUNCTION store.refuse()",
        "DROP FUNCTION store.refuse CASCADE",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_while_postgres_is_broken_nothing_is_rejected_and_somebody_is_told(
    listen: Headwater, connection: Connection, mqtt_address: Address, kind: str
) -> None:
    breaking, mending = BROKEN[kind]
    listener = listen()
    listener.wait_until("listening")
    await connection.execute(breaking)
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([reading(n) for n in range(100)])
    await until(lambda: listener.health().get("state", "").startswith("Postgres refused a statement"))
    assert listener.health()["ok"] is False
    assert await connection.fetchval("SELECT count(*) FROM ledger") == 0
    await connection.execute(mending)
    await until_stored(connection, "SELECT count(*) FROM sensor_readings", 100)
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0
    await asyncio.to_thread(listener.wait_until, "listening")
    assert listener.stop() == 0


async def test_a_record_that_can_be_kept_nowhere_waits_and_somebody_is_told(
    listen: Headwater, connection: Connection, mqtt_address: Address
) -> None:
    listener = listen()
    listener.wait_until("listening")
    await connection.execute("ALTER TABLE store.rejected ADD CONSTRAINT none CHECK (false) NOT VALID")
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([("sensors/s-1/readings", b"no reading"), reading(1)])
    await until(lambda: '"none"' in listener.health().get("state", ""))
    assert listener.health()["ok"] is False
    assert "commit: refused, tried again" in listener.log.read_text()
    await connection.execute("ALTER TABLE store.rejected DROP CONSTRAINT none")
    await until_stored(connection, "SELECT count(*) FROM sensor_readings", 1)
    await until_stored(connection, "SELECT count(*) FROM rejected", 1)
    await asyncio.to_thread(listener.wait_until, "listening")
    assert listener.stop() == 0


async def test_a_partition_that_was_dropped_is_made_again(
    listen: Headwater, connection: Connection, mqtt_address: Address
) -> None:
    listener = listen()
    listener.wait_until("listening")
    async with Publisher(mqtt_address.url_with_password) as publisher:
        await publisher.publish_many([reading(n) for n in range(100)])
        await until_stored(connection, "SELECT count(*) FROM sensor_readings", 100)
        await connection.execute(f"DROP TABLE store.sensor_readings_{START:%Y%m%d}")
        await publisher.publish_many([reading(n) for n in range(100, 200)])
        await until_stored(connection, "SELECT count(*) FROM sensor_readings", 100)
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0
    assert listener.stop() == 0


async def test_with_postgres_away_the_broker_holds_what_comes(
    headwater: Headwater, tmp_path: Path, mqtt_address: Address
) -> None:
    service = Postgres(tmp_path / "services")
    dsn = service.start().url_with_password
    try:
        settings = {"HEADWATER_POSTGRES_DSN": dsn, "HEADWATER_MQTT_URL": mqtt_address.url_with_password}
        listener = headwater("listen", "--pipeline", "sensors", **settings)
        listener.wait_until("listening")
        async with Publisher(mqtt_address.url_with_password) as publisher:
            await publisher.publish_many([reading(n) for n in range(100)])
            await asyncio.to_thread(service.kill)
            await publisher.publish_many([reading(n) for n in range(100, 5_000)])
            await until(lambda: listener.health().get("state") == "waiting for Postgres")
            assert listener.process.poll() is None
            assert await asyncio.to_thread(service.start)
        connection = await connect(dsn, application="test")
        await until_stored(connection, "SELECT count(*) FROM sensor_readings", 5_000)
        assert await connection.fetchval("SELECT sum(rows)::bigint FROM ledger_outputs") == 5_000
        await connection.close()
        assert "waiting for a service" in listener.log.read_text()
        assert listener.stop() == 0
    finally:
        service.stop()


async def test_the_example_of_docs_readings_is_stored(
    listen: Headwater, connection: Connection, mqtt_address: Address
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "readings.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    listener = listen()
    listener.wait_until("listening")
    text = example.replace("PORT", str(mqtt_address.port))
    command = [sys.executable, "-X", "dev", "-c", text]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"", b"")
    await until_stored(connection, "SELECT count(*) FROM sensor_readings WHERE temperature = 21.5", 1)
    assert listener.stop() == 0
