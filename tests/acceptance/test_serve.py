"""`headwater serve`: robots' notices become flow runs, and what they store."""

import asyncio
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    WorkPoolFilter,
    WorkPoolFilterName,
)

from flows.process.ours import paged
from flows.worker.deploy import ROOT
from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from infra.simulators.robot import Robot, failing, serial_dilution, serve_robot
from tests.fixtures import catalogs
from tests.fixtures.headwater import Headwater, Process
from tests.fixtures.prefect import a_client, variables
from tests.fixtures.strangers import a_stranger
from tests.fixtures.waiting import until, until_stored
from tests.fixtures.wire import ErrorProxy

NUMBERS = "SELECT coalesce(sum(accepted), 0)::int FROM ledger WHERE pipeline = 'numbers'"


def typed(page: str) -> str:
    """The one line of a page of the documentation that is for typing."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (line,) = re.findall(r"^```sh\n(.*)\n```", text, re.MULTILINE)
    return str(line)


@pytest.fixture
async def publisher(mqtt_address: Address) -> AsyncIterator[Publisher]:
    async with Publisher(mqtt_address.url_with_password) as publisher:
        yield publisher


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A source of a user's own that is asked by a schedule: four lines of a file, three at a time."""
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f'{{"at": "2026-11-21T08:00:0{second}Z"}}\n' for second in range(4)))
    table = {"name": "numbers", "key": ["at"], "time": "at", "columns": {"at": {"type": "timestamp"}}}
    source = {"type": "tests.fixtures.lines_source:Lines", "path": str(lines)}
    said = {"doc": "Numbers.", "owner": "us", "source": source, "schedule": {"every": "PT3S"}, "table": table}
    catalogs.written(tmp_path / "pipelines of ours" / "numbers" / "pipeline.yaml", said)
    return tmp_path / "pipelines of ours"


async def test_a_run_is_stored_when_its_robot_says_that_it_changed(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    prefect_server: Address,
    publisher: Publisher,
    numbers: Path,
) -> None:
    protocols = [serial_dilution(1), failing(2)]
    robot = Robot(protocols=protocols, publish=publisher.publish, seconds=0.01)
    async with serve_robot(robot) as url:
        await robot.up()
        own = variables(prefect_server)
        settings = {
            "HEADWATER_POSTGRES_DSN": postgres_dsn,
            "HEADWATER_MQTT_URL": mqtt_address.url_with_password,
            **own,
            "HEADWATER_ROBOTS": f"ot2={url}",
            "HEADWATER_PIPELINES": str(numbers),
            "PYTHONPATH": str(ROOT),
        }
        worker = headwater("serve", **settings)
        await asyncio.to_thread(worker.wait_until, "serving", 300.0)
        await until_stored(connection, NUMBERS, 4)
        async with a_client(prefect_server) as client:  # named like ours, and one even in our work pool
            pools = ("headwater", f"{own['HEADWATER_INSTALLATION']}-flows")
            names = ("experiments", "proof")
            theirs = [
                await a_stranger(client, name, pool=pool) for name, pool in zip(names, pools, strict=True)
            ]
            before = [await each.seen(client) for each in theirs]
        for protocol in protocols:
            await robot.play(protocol)
        query = "SELECT count(*) FROM experiments WHERE status IN ('succeeded', 'failed')"
        await until_stored(connection, query, 2)
        states = await settled_states(prefect_server, own["HEADWATER_INSTALLATION"])
        async with a_client(prefect_server) as client:
            assert [await each.seen(client) for each in theirs] == before
        by_hand = headwater(*shlex.split(typed("sources.md"))[1:], **settings)
        assert await asyncio.to_thread(by_hand.process.wait, 120) == 0
        assert re.search(
            r"^Nothing new: batches \d+, \d+ hold the same", by_hand.log.read_text(), re.MULTILINE
        )
    assert set(states.values()) == {"Completed"}
    metrics = worker.get("/metrics")
    assert 'flow_runs_total{flow="experiments",status="completed"}' in metrics
    assert re.search(r'processed_records_total\{source="experiments",status="accepted"\} [1-9]', metrics)
    assert await asyncio.to_thread(worker.stop) == 0
    rows = await connection.fetch("SELECT status, commands, error_count, robot FROM experiments ORDER BY 1")
    assert [(row["status"], row["error_count"] > 0, row["robot"]) for row in rows] == [
        ("failed", True, "ot2"),
        ("succeeded", False, "ot2"),
    ]
    steps = await connection.fetchval("SELECT count(*) FROM experiment_steps")
    assert steps == sum(row["commands"] for row in rows)
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0
    runs = await connection.fetchval(
        "SELECT count(DISTINCT run_id) FROM ledger WHERE way NOT IN ('refresh', 'asset')"
    )
    assert 2 <= runs <= len(states)


async def test_killed_in_the_middle_and_two_at_once_every_run_is_stored_with_its_end(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    prefect_server: Address,
    publisher: Publisher,
) -> None:
    robot = Robot(publish=publisher.publish, seconds=0.05)
    async with serve_robot(robot) as url:
        await robot.up()
        settings = {
            "HEADWATER_POSTGRES_DSN": postgres_dsn,
            "HEADWATER_MQTT_URL": mqtt_address.url_with_password,
            **variables(prefect_server),
            "HEADWATER_ROBOTS": f"ot2={url}",
        }
        first = headwater("serve", **settings)
        await asyncio.to_thread(first.wait_until, "serving", 300.0)
        playing = asyncio.create_task(robot.play(serial_dilution(1)))
        await until_stored(connection, "SELECT count(*) FROM experiments", 1)
        first.kill()
        await playing
        await robot.play(failing(2))  # nobody listens
        # A broker of its own is the robot's now, as the real ones have; nothing listens on ours.
        settings["HEADWATER_ROBOTS"] = f"ot2={url} {mqtt_address.url}"
        settings["HEADWATER_MQTT_URL"] = "mqtt://127.0.0.1:9"
        both = [headwater("serve", **settings, HEADWATER_CLIENT_ID=f"serve-{n}") for n in range(2)]
        for worker in both:
            await asyncio.to_thread(worker.wait_until, "serving", 300.0)
        query = "SELECT count(*) FROM experiments WHERE status IN ('succeeded', 'failed')"
        await until_stored(connection, query, 2)
        await robot.play(serial_dilution(3))
        await until_stored(connection, query, 3)
        await settled_states(prefect_server, settings["HEADWATER_INSTALLATION"])
    steps = await connection.fetchval("SELECT count(*) FROM experiment_steps")
    assert steps == await connection.fetchval("SELECT sum(commands) FROM experiments")
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0
    positions = await connection.fetch("SELECT position_id FROM ledger WHERE position_id IS NOT NULL")
    assert len(set(positions)) == len(positions)
    for worker in both:
        assert await asyncio.to_thread(worker.stop) == 0


@pytest.mark.timeout(800)  # a run that was being started then keeps its place: Prefect frees it after 300 s
async def test_a_server_that_answers_with_an_error_ends_no_worker(
    headwater: Headwater,
    postgres_dsn: str,
    mqtt_address: Address,
    prefect_server: Address,
    error_proxy: ErrorProxy,
) -> None:
    own = variables(prefect_server)
    there = f"http://127.0.0.1:{error_proxy.port}/api"
    worker = headwater(
        "serve",
        HEADWATER_POSTGRES_DSN=postgres_dsn,
        HEADWATER_MQTT_URL=mqtt_address.url_with_password,
        **own | {"HEADWATER_PREFECT_API_URL": there, "PREFECT_API_URL": there},
        HEADWATER_SCHEDULE_EVERY="5s",
    )
    await asyncio.to_thread(worker.wait_until, "serving", 300.0)
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[f"{own['HEADWATER_INSTALLATION']}-flows"]))
    completed = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Completed"])))

    async def done(client: PrefectClient) -> set[UUID]:
        return {
            run.id for run in await client.read_flow_runs(work_pool_filter=pool, flow_run_filter=completed)
        }

    async with a_client(prefect_server) as client:
        error_proxy.refused = b"GET /api/deployments/"  # what a worker asks for before it starts a run
        await until(lambda: error_proxy.count > 2, 120)
        before, error_proxy.refused = await done(client), None
        while not await done(client) - before:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(1)
    assert await asyncio.to_thread(worker.stop) == 0


async def settled_states(server: Address, installation: str) -> dict[str, str]:
    """The state of every run for a robot, once all have ended and none was added for three seconds.

    Those of its schedule, which are hours ahead, are left out.
    """
    before: dict[str, str] = {}
    pull = FlowFilter(name=FlowFilterName(any_=["headwater-pull"]))
    ours = DeploymentFilter(name=DeploymentFilterName(any_=[f"{installation}-experiments"]))
    async with a_client(server) as client:
        for _ in range(40):
            found = paged(client.read_flow_runs, flow_filter=pull, deployment_filter=ours)
            runs = [run async for run in found if not run.auto_scheduled]
            now = {str(run.id): run.state_name or "" for run in runs}
            ended = all(run.state is not None and run.state.is_final() for run in runs)
            if now and ended and now == before:
                return now
            before = now
            await asyncio.sleep(3)
    pytest.fail(f"flow runs go on and on: {before}")


WITH_OTHERS = """
import sys
from pathlib import Path
from console.cli.start import start_prefect
settings = start_prefect()
from console.cli.start import run
from flows import catalog
from flows.worker.serve import serve
catalog.folders.SHIPPED = Path(sys.argv[-1])
run(serve(settings, catalog.read(settings)))
"""


async def test_a_broken_pipeline_of_robots_is_a_finding_and_another_of_that_type_is_served(
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    prefect_server: Address,
    numbers: Path,
    tmp_path: Path,
) -> None:
    shipped = catalogs.copied(tmp_path)
    experiments = shipped / "robots" / "experiments.yaml"
    whole = experiments.read_text()
    experiments.write_text(whole.replace("owner:", "ownr:"))
    catalogs.written(shipped / "robots" / "lab-robots.yaml", whole)
    robot = Robot(seconds=0)
    async with serve_robot(robot) as url:
        await robot.up()
        settings = {
            "HEADWATER_POSTGRES_DSN": postgres_dsn,
            "HEADWATER_MQTT_URL": mqtt_address.url_with_password,
            **variables(prefect_server),
            "HEADWATER_ROBOTS": f"ot2={url}",
            "HEADWATER_PIPELINES": str(numbers),
            "PYTHONPATH": str(ROOT),
        }
        program = (sys.executable, "-c", WITH_OTHERS)
        worker = Process((str(shipped),), settings, tmp_path, program)
        await asyncio.to_thread(worker.wait_until, "serving", 300.0)
        assert "did you mean owner?" in worker.health()["left out: experiments"]
        await robot.play(serial_dilution(1))
        await until_stored(connection, "SELECT count(*) FROM experiments WHERE status = 'succeeded'", 1)
        await until_stored(connection, NUMBERS, 4)
        assert await asyncio.to_thread(worker.stop) == 0
    readers = await connection.fetch("SELECT DISTINCT pipeline FROM ledger WHERE dataset LIKE 'opentrons:%'")
    assert [row["pipeline"] for row in readers] == ["lab-robots"]
