"""Streams side by side in one listener: each goes its way, and one that stands still holds up no other."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flows.stream import side_by_side as listening_module
from flows.stream import slot as slots
from flows.stream.side_by_side import listen_to
from flows.stream.slot import KIND
from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from infra.postgres_lock import PostgresLock
from infra.settings import load
from lineage.errors import SettingsError
from tests.fixtures import catalogs
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.catalogs import pipeline as named
from tests.fixtures.headwater import Headwater
from tests.fixtures.listening import SENSORS, Listeners, Listening, power
from tests.fixtures.waiting import until_stored

READ = "SELECT coalesce(sum(read), 0)::bigint FROM ledger WHERE dataset = $1"
OF_SENSORS, OF_POWER, OF_FILES = (each.source.dataset for each in (SENSORS, power(), named("sensors-files")))
CSV = "device_id,timestamp,temperature\nf1,2026-11-21T08:00:00Z,20.5\n"
TAKEN = (
    "power: ended: Slot 0 is taken: a listener with the client id headwater-power-0 runs. "
    "Give this one a HEADWATER_SLOT of its own, or end that one first."
)
REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE 'not for you' USING ERRCODE = 'insufficient_privilege'; END $$;
CREATE TRIGGER refuses BEFORE INSERT ON store.power FOR EACH ROW EXECUTE FUNCTION refuse();
"""
POWER = {
    "doc": "Meters of a building.",
    "owner": "facilities",
    "source": {"type": "mqtt", "topic": "power/+"},
    "table": {
        "name": "power_readings",
        "key": ["meter", "at"],
        "time": "at",
        "columns": {"meter": {"type": "text"}, "at": {"type": "timestamp"}, "watts": {"type": "float"}},
    },
}


@pytest.fixture(autouse=True)
def begun_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening_module, "AGAIN", 0.2)
    monkeypatch.setattr(slots, "TRIES", 2)


@pytest.fixture
async def publisher(listeners: Listeners) -> AsyncIterator[Publisher]:
    async with Publisher(listeners.broker) as publisher:
        yield publisher


def of_sensors(second: int) -> tuple[str, bytes]:
    body = {"device_id": "a", "timestamp": f"2026-11-21T08:00:{second:02}Z", "temperature": 20}
    return "sensors/a/readings", json.dumps(body).encode()


def of_power(second: int) -> tuple[str, bytes]:
    return "power/m1", json.dumps({"timestamp": f"2026-11-21T08:00:{second:02}Z", "temperature": 20}).encode()


async def read(connection: Connection, dataset: str, wanted: int) -> None:
    await until_stored(connection, READ.replace("$1", f"'{dataset}'"), wanted)


async def until(listening: Listening, holds: Callable[[dict[str, object]], bool]) -> dict[str, object]:
    """What is said at /health once it holds."""
    async with asyncio.timeout(60):
        while not holds(said := await listening.health()):
            assert not listening.running.done(), listening.running.exception()
            await asyncio.sleep(0.05)
    return said


async def test_each_stores_what_comes_and_a_broker_that_is_away_holds_up_no_other(
    listeners: Listeners, connection: Connection, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_KAFKA_URL", "kafka://127.0.0.1:9")
    streams = (SENSORS, power(), named("sensors-files"), named("sensors-kafka"))
    async with listeners.run(*streams, state="sensors-kafka: waiting for the broker") as listening:
        await publisher.publish_many([of_sensors(0), of_power(0), of_power(1)])
        (listeners.home / "files" / "sensors" / "a.csv").write_text(CSV)
        await read(connection, OF_SENSORS, 1)
        await read(connection, OF_POWER, 2)
        await read(connection, OF_FILES, 1)
        said = await listening.health()
        assert {name: said[name] for name in ("sensors", "power", "sensors-kafka")} == {
            "sensors": "listening",
            "power": "listening",
            "sensors-kafka": "waiting for the broker",
        }
        assert listening.accepted("sensors") == 1
        assert listening.accepted("power") == 2
        assert listening.value("listener_up", "power") == 1
        assert listening.value("listener_up", "sensors-kafka") == 0
    kept = await connection.fetch("SELECT client_id, pipeline FROM store.listeners ORDER BY pipeline")
    assert [tuple(row) for row in kept] == [
        ("headwater-power-0", "power"),
        ("headwater-sensors-0", "sensors"),
    ]


async def test_a_table_that_takes_nothing_and_a_limit_hold_up_no_other(
    listeners: Listeners, connection: Connection, publisher: Publisher
) -> None:
    limited = named("sensors-files").model_copy(update={"rejected_limit": 1})
    async with listeners.run(SENSORS, power(), limited) as listening:
        await connection.execute(REFUSES)
        (listeners.home / "files" / "sensors" / "bad.csv").write_text(CSV.replace("20.5", "hot"))
        await publisher.publish_many([of_power(0)])
        said = await until(
            listening,
            lambda said: said["sensors-files"] == "not read" and "not for you" in str(said["power"]),
        )
        assert not said["ok"]
        for second in range(3):
            await publisher.publish_many([of_sensors(second)])
            await read(connection, OF_SENSORS, second + 1)
        await connection.execute("DROP TRIGGER refuses ON store.power")
        await read(connection, OF_POWER, 1)
        await until(listening, lambda said: said["power"] == "listening")


async def test_one_that_ends_is_begun_again_and_the_others_go_on(
    listeners: Listeners, connection: Connection, publisher: Publisher
) -> None:
    taken = PostgresLock(listeners.dsn, KIND, "headwater-power-0")
    assert await taken.hold()
    async with listeners.run(SENSORS, power(), state=TAKEN) as listening:
        said = await listening.health()
        assert not said["ok"]
        await publisher.publish_many([of_sensors(0)])
        await read(connection, OF_SENSORS, 1)
        taken.release()
        await until(listening, lambda said: said["state"] == "listening")
        await publisher.publish_many([of_power(0)])
        await read(connection, OF_POWER, 1)


async def test_when_none_can_go_on_it_ends_with_the_reason(listeners: Listeners) -> None:
    locks = [PostgresLock(listeners.dsn, KIND, f"headwater-{name}-0") for name in ("power", "sensors")]
    for lock in locks:
        assert await lock.hold()
    with pytest.raises(SettingsError, match="Slot 0 is taken"):
        async with listeners.run(SENSORS, power(), state="listening"):
            pass
    for lock in locks:
        lock.release()


async def test_without_any_broker_and_without_a_stream_it_says_so(tmp_path: Path) -> None:
    settings = load(home=tmp_path, postgres_dsn="postgresql://127.0.0.1:9/none")
    only_robots = replace(SHIPPED, pipelines={"experiments": SHIPPED.pipeline("experiments")})
    with pytest.raises(SettingsError, match="No stream"):
        await listen_to(settings, only_robots, (), leave=False)


def test_every_stream_of_the_catalog_runs_and_one_of_ones_own_joins(
    headwater: Headwater, postgres_dsn: str, mqtt_address: Address, tmp_path: Path
) -> None:
    catalogs.written(tmp_path / "own" / "power" / "pipeline.yaml", POWER)
    catalogs.written(tmp_path / "own" / "power" / "broken.yaml", "doc: of nothing\n")
    urls = {
        "HEADWATER_POSTGRES_DSN": postgres_dsn,
        "HEADWATER_MQTT_URL": mqtt_address.url_with_password,
        "HEADWATER_PIPELINES": str(tmp_path / "own"),
    }
    listener = headwater("listen", **urls)
    listener.wait_until("listening")
    said = listener.health()
    assert {name for name, doing in said.items() if doing == "listening"} == {
        "state",
        "sensors",
        "sensors-files",
        "power",
    }
    assert "kafka" in said["not run: sensors-kafka"].lower()
    assert "broken.yaml" in said["left out: broken"]
    assert listener.stop() == 0
    log = listener.log.read_text()
    assert "pipeline=power" in log or '"pipeline": "power"' in log
    drained = headwater("listen", "--drain", **urls)
    assert drained.process.wait(90) == 0
    assert drained.log.read_text().count("left: the broker keeps nothing for us any more") == 2
