"""Triggers on a real broker, Postgres and Prefect server: every event starts its flow run, and once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flows.ours import Installation
from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from infra.settings import Settings, load
from tests.fixtures.prefect import a_client
from tests.fixtures.triggers import Server, a_trigger, at_work
from tests.fixtures.waiting import until, until_stored

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
STARTED = "SELECT count(flow_run) FROM trigger_events"
COMMITTED = "SELECT count(*) FROM ledger WHERE way = 'event'"
BATCH = b'{"batch": {"id": "b-7"}}'


@pytest.fixture
async def server(prefect_server: Address) -> AsyncIterator[Server]:
    async with a_client(prefect_server) as client:
        yield Server(client)


@pytest.fixture
async def publisher(mqtt_address: Address) -> AsyncIterator[Publisher]:
    async with Publisher(mqtt_address.url_with_password) as publisher:
        yield publisher


@pytest.fixture
def settings(tmp_path: Path, postgres_dsn: str, mqtt_address: Address) -> Settings:
    return load(home=tmp_path / "home", postgres_dsn=postgres_dsn, mqtt_url=mqtt_address.url_with_password)


async def test_a_message_starts_a_run_of_the_users_own_deployment_with_its_parameters(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    installation: Installation,
) -> None:
    trigger = a_trigger(tmp_path)
    await server.deploy(trigger)
    async with at_work(settings, trigger, server.client, installation) as state:
        await until(lambda: "listening" in state.facts.get("trigger ready", ""))
        await publisher.publish("lab/rack-3/ready", BATCH)
        await until_stored(connection, STARTED, 1)
    (run,) = await server.runs(trigger)
    assert run.parameters == {"rack": "rack-3", "batch": "b-7"}
    row = await connection.fetchrow("SELECT * FROM trigger_events")
    assert row["flow_run"] == run.id
