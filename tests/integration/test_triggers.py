"""Triggers on a real broker, Postgres and Prefect server: every event starts its flow run, and once."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from pydantic import SecretStr

from console.asked.interchange import exported, provenance
from flows import catalog
from flows.process import stores
from flows.process.counting import metrics
from flows.process.ours import Installation
from flows.triggers import deployments
from flows.triggers.running import plan_of
from flows.triggers.starter import key_of
from flows.worker.deployed_pulls import deploy_pulls
from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from infra.settings import Settings, load
from lineage.trigger_events import run_of
from tasks.load.raw import unpack
from tasks.load.trigger_events import commit_message, record_start, triggers_seen, waiting
from tasks.transform.event import judge
from tasks.trigger import Trigger
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.from_bytes import House, a_house
from tests.fixtures.headwater import Command
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.prefect import a_client
from tests.fixtures.triggers import READY, Server, a_message, a_trigger, at_work
from tests.fixtures.waiting import until, until_stored
from tests.fixtures.wire import Proxy

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
STARTED = "SELECT count(flow_run) FROM trigger_events"
TOOK = """
SELECT max(l.processed_at - e.received_at) FROM trigger_events e JOIN ledger l ON l.batch = e.started_by
"""
STATUSES = ("accepted", "rejected", "duplicate")
COMMITTED = "SELECT count(*) FROM ledger WHERE way = 'event'"
BATCH = b'{"batch": {"id": "b-7"}}'
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'headwater trigger'
"""
PATH = """
MATCH (a:Batch)-[:FEEDS]->(event:Batch {dataset: 'postgres:trigger_events'})
    -[:FEEDS]->(start:Batch)<-[:WROTE]-(run:Run)
RETURN [a.key, event.key, start.key] AS keys, run.key AS run, start.flow_run AS flow_run
"""
EXAMPLES = (
    Path(os.environ.get("HEADWATER_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")).parent
    / "examples"
)


@pytest.fixture
async def server(prefect_server: Address) -> AsyncIterator[Server]:
    async with a_client(prefect_server) as client:
        yield Server(client)


@pytest.fixture
async def publisher(mqtt_address: Address) -> AsyncIterator[Publisher]:
    async with Publisher(mqtt_address.url_with_password) as publisher:
        yield publisher


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        yield house


@pytest.fixture
def ours(installation: Installation) -> Installation:
    return installation


@pytest.fixture
def settings(tmp_path: Path, postgres_dsn: str, mqtt_address: Address) -> Settings:
    return load(home=tmp_path / "home", postgres_dsn=postgres_dsn, mqtt_url=mqtt_address.url_with_password)


async def test_a_message_starts_a_run_of_the_users_own_deployment_with_its_parameters(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
) -> None:
    trigger = a_trigger(tmp_path)
    await server.deploy(trigger)
    async with at_work(settings, trigger, server.client, ours):
        await publisher.publish("lab/rack-3/ready", BATCH)
        await until_stored(connection, STARTED, 1)
    (run,) = await server.runs(trigger)
    assert run.parameters == {"rack": "rack-3", "batch": "b-7"}
    row = await connection.fetchrow("SELECT * FROM trigger_events")
    assert row["flow_run"] == run.id
    assert await connection.fetchval(TOOK) < timedelta(seconds=2)
    seen = {name: row[name] for name in ("trigger_name", "topic", "key", "batch")}
    assert seen == {"trigger_name": "ready", "topic": "lab/rack-3/ready", "key": None, "batch": 1}
    (message,) = unpack(await connection.fetchval("SELECT messages FROM raw_batches WHERE batch = 1")).rows()
    assert message == ("lab/rack-3/ready", BATCH)


async def test_the_example_starts_what_it_says(
    settings: Settings, connection: Connection, server: Server, publisher: Publisher, ours: Installation
) -> None:
    shown = EXAMPLES / "ready"
    if not shown.is_dir():
        pytest.skip("it reads ../shared, no part of the repository; the tests above have a trigger of ours")
    trigger = catalog.read_directories((EXAMPLES,)).triggers["ready"]
    await server.deploy(trigger)
    before = {run.id for run in await server.runs(trigger)}
    async with at_work(settings, trigger, server.client, ours):
        await publisher.publish("lab/rack-3/ready", BATCH)
        await until_stored(connection, STARTED, 1)
    (run,) = [run for run in await server.runs(trigger) if run.id not in before]
    assert run.parameters == {"rack": "rack-3", "batch": "b-7"}


async def test_every_message_without_a_key_is_an_event_and_with_one_the_first_is(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
) -> None:
    same = [("lab/a/ready", BATCH)] * 2
    trigger = a_trigger(tmp_path / "without")
    await server.deploy(trigger)
    async with at_work(settings, trigger, server.client, ours):
        await publisher.publish_many(same)
        await until_stored(connection, STARTED, 2)
    assert len(await server.runs(trigger)) == 2
    keyed = a_trigger(tmp_path / "with", key=["batch.id"])
    await server.deploy(keyed)
    async with at_work(settings, keyed, server.client, ours):
        await publisher.publish_many([*same, ("lab/b/ready", BATCH)])
        await until_stored(connection, STARTED, 4)
        await until_stored(connection, COMMITTED, 5)
    assert [run.parameters["rack"] for run in await server.runs(keyed)] in (["a", "b"], ["b", "a"])
    assert await connection.fetchval("SELECT sum(duplicates) FROM ledger") == 1


@pytest.mark.parametrize("asked", [False, True])
async def test_what_the_broker_kept_from_before_starts_something_only_if_it_is_asked_for(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
    asked: bool,
) -> None:
    when = {"type": "mqtt", "topic": "lab/{rack}/ready", "retained": asked}
    trigger = a_trigger(tmp_path, when=when)
    await server.deploy(trigger)
    await publisher.publish("lab/a/ready", BATCH, retain=True)
    async with at_work(settings, trigger, server.client, ours):
        await until_stored(connection, COMMITTED, 1)
        await publisher.publish("lab/b/ready", BATCH)
        await until_stored(connection, STARTED, 1 + asked)
    racks = {run.parameters["rack"] for run in await server.runs(trigger)}
    assert racks == ({"a", "b"} if asked else {"b"})
    assert await connection.fetchval("SELECT sum(filtered) FROM ledger") == (0 if asked else 1)


async def test_a_deployment_that_is_not_there_yet_is_waited_for_and_told(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
) -> None:
    trigger = a_trigger(tmp_path)
    async with at_work(settings, trigger, server.client, ours) as state:
        await publisher.publish_many([("lab/a/ready", BATCH), ("lab/b/ready", BATCH)])
        wanted = f"2 events wait: There is no deployment {trigger.run} on Prefect's server"
        await until(lambda: wanted in state.facts["trigger ready"])
        (seen,) = await triggers_seen(connection)
        assert (seen.name, seen.events, seen.started, seen.waiting) == ("ready", 2, 0, 2)
        assert seen.since is not None
        await server.deploy(trigger)
        await until_stored(connection, STARTED, 2)
        await until(lambda: "wait" not in state.facts["trigger ready"])
    assert [run.parameters["rack"] for run in await server.runs(trigger)] in (["a", "b"], ["b", "a"])


async def test_parameters_that_are_refused_wait_and_hold_up_no_other(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
) -> None:
    trigger = a_trigger(tmp_path)
    schema = {"type": "object", "properties": {"batch": {"type": "string"}, "rack": {"type": "string"}}}
    await server.deploy(trigger, parameter_openapi_schema=schema, enforce_parameter_schema=True)
    async with at_work(settings, trigger, server.client, ours) as state:
        number = b'{"batch": {"id": 7}}'
        await publisher.publish_many([("lab/a/ready", number), ("lab/b/ready", BATCH)])
        await until_stored(connection, STARTED, 1)
        await until(lambda: "1 event waits: prod does not take" in state.facts["trigger ready"])
    (run,) = await server.runs(trigger)
    assert run.parameters["rack"] == "b"


async def test_a_pull_of_ours_is_told_what_its_source_takes_and_what_no_run_can_read_waits(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
) -> None:
    await server.client.create_work_pool(WorkPoolCreate(name=ours.pool, type="process"))
    await deploy_pulls(server.client, ours, SHIPPED.pulls, {})
    said = {"robot": {"from": {"topic": "rack"}}, "experiment_id": {"from": "run"}}
    trigger = a_trigger(
        tmp_path, run=f"headwater-pull/{ours.deployment('experiments')}", parameters=said, key="run"
    )
    known = settings.model_copy(update={"robots": load(robots="ot2=http://127.0.0.1:9").robots})
    run, counted = str(uuid4()), partial(metrics().registry.get_sample_value, "processed_records_total")
    before = [counted({"source": "trigger:ready", "status": each}) or 0 for each in STATUSES]
    async with at_work(known, trigger, server.client, ours) as state:
        messages = [("lab/ot3/ready", run), ("lab/ot2/ready", run), ("lab/ot2/ready", run)]
        await publisher.publish_many([(topic, json.dumps({"run": run}).encode()) for topic, run in messages])
        await publisher.publish("lab/ot2/ready", b"{}")
        await until_stored(connection, STARTED, 1)
        await until(lambda: "(there: ot2): did you mean ot2?" in state.facts["trigger ready"])
        await until_stored(connection, COMMITTED, 4)
        await until(lambda: counted({"source": "trigger:ready", "status": "rejected"}) == before[1] + 1)
    found = await connection.fetchval("SELECT flow_run FROM trigger_events WHERE flow_run IS NOT NULL")
    asked = (await server.client.read_flow_run(found)).parameters
    assert asked == {"request": {"pipeline": "experiments", "robot": "ot2", "experiment_id": run}}
    after = [counted({"source": "trigger:ready", "status": each}) or 0 for each in STATUSES]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("payload", "rules"),
    [
        (b"not json", ["payload.json"]),
        (b'["batch"]', ["payload.object"]),
        (b'{"batch": {"name": "b-7"}}', ["batch.missing", "key.missing"]),
        (b'{"batch": {"id": "\\u0000"}}', ["batch.text", "key.text"]),
        (b'{"batch": {"id": 1e400}}', ["batch.finite", "key.finite"]),
    ],
)
async def test_a_message_that_asks_for_nothing_is_rejected_with_its_bytes(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
    command: Command,
    payload: bytes,
    rules: list[str],
) -> None:
    trigger = a_trigger(tmp_path, key="batch.id")
    await server.deploy(trigger)
    async with at_work(settings, trigger, server.client, ours):
        messages = [("lab/a/ready", payload), ("lab/a/ready", payload), ("lab/a/ready", BATCH)]
        await publisher.publish_many(messages)
        await until_stored(connection, STARTED, 1)
    (listed,) = json.loads(command("rejected", "ls", "--format", "json").stdout)["records"]
    assert listed["rules"] == rules
    assert listed["dataset"] == "mqtt:lab/+/ready"
    assert command("rejected", "show", "--raw", listed["identity"]).stdout == payload
    again = json.loads(command("rejected", "replay", "--json").stdout)
    assert (again["read"], again["unchanged"]) == (0, 1)
    dropped = command("rejected", "drop", "--apply", "--reason", "seen", "--json")
    assert json.loads(dropped.stdout)["records"] == 1
    assert await connection.fetchval("SELECT sum(duplicates) FROM ledger WHERE way = 'event'") == 1


async def test_killed_between_any_two_steps_an_event_has_one_run(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    ours: Installation,
) -> None:
    """Between commit and acknowledgement, and start, and the record of the start."""
    trigger = a_trigger(tmp_path)
    await server.deploy(trigger)
    plan, said = plan_of(trigger), a_message(trigger, BATCH)
    verdict = judge(trigger, said.topic, said.payload)
    async with stores.open_store(settings, "test") as store:
        for wanted in ("event", "committed before"):  # its answer was lost
            async with store.work() as session:
                assert await commit_message(session, plan, said, verdict) == wanted
        again = replace(said, id=uuid4(), repeated=True)  # its acknowledgement was lost
        async with store.work() as session:
            assert await commit_message(session, plan, again, verdict) == "repeat"
        other = replace(said, id=uuid4(), repeated=True, packet_id=2)  # delivered before, never committed
        async with store.work() as session:
            assert await commit_message(session, plan, other, verdict) == "event"
        (event, _) = [each async for each in waiting(store.pool, "ready")]
        deployment = await deployments.find(server.client, trigger.run)
        started = await deployments.start(server.client, deployment, {"rack": "a"}, key_of(event.event))
    async with at_work(settings, trigger, server.client, ours):  # after the kill: the same run is told
        await until_stored(connection, STARTED, 2)
    runs = {run.id for run in await server.runs(trigger)}
    assert started.id in runs
    assert len(runs) == 2
    kept = await connection.fetch("SELECT flow_run FROM trigger_events")
    assert {row["flow_run"] for row in kept} == runs


async def test_a_repeat_of_the_broker_is_no_second_event(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
    proxy: Proxy,
) -> None:
    """The connection breaks with the message committed, its acknowledgement on the way."""
    trigger = a_trigger(tmp_path)
    await server.deploy(trigger)
    through = settings.model_copy(update={"mqtt_url": SecretStr(proxy.url)})
    async with at_work(through, trigger, server.client, ours):
        proxy.deaf = True
        await publisher.publish("lab/a/ready", BATCH)
        await until_stored(connection, STARTED, 1)
        proxy.deaf = False
        proxy.cut()
        await until_stored(connection, COMMITTED, 2)  # it came again
        await publisher.publish("lab/a/ready", BATCH)  # another one with the same bytes
        await until_stored(connection, STARTED, 2)
        await until_stored(connection, "SELECT 1 - count(*) FROM store.trigger_unacknowledged", 1)
    assert len(await server.runs(trigger)) == 2
    assert await connection.fetchval("SELECT sum(duplicates) FROM ledger") == 1


async def test_while_postgres_is_away_the_broker_keeps_what_comes(
    settings: Settings,
    postgres_server: PostgresServer,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
) -> None:
    trigger = a_trigger(tmp_path)
    await server.deploy(trigger)
    async with at_work(settings, trigger, server.client, ours):
        database = await connection.fetchval("SELECT current_database()")
        postgres_server.sql(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
        await connection.execute(CUT)
        await publisher.publish("lab/a/ready", BATCH)
        await asyncio.sleep(1.0)
        assert await connection.fetchval(COMMITTED) == 0
        postgres_server.sql(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
        await until_stored(connection, STARTED, 1)
    assert len(await server.runs(trigger)) == 1
    assert await connection.fetchval(COMMITTED) == 1


async def test_one_process_has_a_trigger_and_another_takes_over(
    settings: Settings,
    tmp_path: Path,
    connection: Connection,
    server: Server,
    publisher: Publisher,
    ours: Installation,
) -> None:
    trigger = a_trigger(tmp_path)
    await server.deploy(trigger)
    async with AsyncExitStack() as first:
        await first.enter_async_context(at_work(settings, trigger, server.client, ours))
        waiting_for_it = at_work(settings, trigger, server.client, ours, "another")
        async with waiting_for_it as state:
            await publisher.publish("lab/a/ready", BATCH)
            await until_stored(connection, STARTED, 1)
            await first.aclose()
            await until(lambda: state.facts["trigger ready"] == "listening")
            await publisher.publish("lab/b/ready", BATCH)
            await until_stored(connection, STARTED, 2)
    assert len(await server.runs(trigger)) == 2


async def test_the_graph_knows_which_event_started_which_run_and_all_of_it_is_proved(
    house: House, ours: Installation
) -> None:
    trigger = Trigger.model_validate(READY | {"name": "ready"})
    plan, said = plan_of(trigger), a_message(trigger, BATCH)
    async with house.store.work() as session:
        verdict = judge(trigger, said.topic, said.payload)
        assert await commit_message(session, plan, said, verdict) == "event"
        flow_run, run = uuid4(), run_of(UUID(int=7), ours=True)
        start = session.connection, plan.transformation, said.id, flow_run
        assert await record_start(*start, run=run, deployment="totals/prod")
        assert not await record_start(*start, run=run, deployment="totals/prod")
    proof = await house.prove()
    assert proof.differences == ()
    events = [event async for event in exported(house.settings, None)]
    told = {each["name"] for event in events for each in event.get("outputs", ())}
    assert "deployment:totals/prod" in told
    assert await provenance(house.settings, None)
    found = await house.graph.read(PATH, {})
    assert found == [
        {
            "keys": [
                "mqtt:lab/+/ready#1",
                "postgres:trigger_events#1",
                "deployment:totals/prod#2",
            ],
            "run": str(UUID(int=7)),
            "flow_run": str(flow_run),
        }
    ]
