"""`headwater resume` on a Prefect server: what failed is listed, and run again as the same run."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, State

from console.cli.resume import NOTHING, resume
from flows.batch.pull import pull
from flows.process.ours import Installation
from flows.worker.resume import FailedRun, failed_runs
from flows.worker.runnable import load_flow
from infra.local.addresses import Address
from infra.postgres import connect
from infra.settings import load
from infra.simulators.robot import Robot, serial_dilution, serve_robot
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import a_batch, a_way, message
from tests.fixtures.graph import graph_settings
from tests.fixtures.headwater import COMMAND
from tests.fixtures.prefect import a_client, variables

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Headwater = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(postgres_dsn: str, prefect_server: Address, graph_address: Address, tmp_path: Path) -> Headwater:
    settings = {
        "HEADWATER_HOME": str(tmp_path / "home"),
        "HEADWATER_POSTGRES_DSN": postgres_dsn,
        **variables(prefect_server),
        "HOME": str(tmp_path),
        **graph_settings(graph_address),
    }

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, **settings}
        return subprocess.run(
            [COMMAND, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
async def client(prefect_server: Address) -> AsyncIterator[PrefectClient]:
    async with a_client(prefect_server) as client:
        yield client


async def ended(
    client: PrefectClient, ours: Installation, parameters: Mapping[str, Any], state: State[Any]
) -> FlowRun:
    """A run of the proof's flow that ended so."""
    made = await client.create_flow_run(
        load_flow("proof", SHIPPED), parameters=dict(parameters), tags=[ours.mark]
    )
    for each in (Running(), state):
        await client.set_flow_run_state(made.id, each, force=True)
    return made


async def test_what_failed_is_run_again_as_the_same_run(
    command: Headwater, client: PrefectClient, postgres_dsn: str
) -> None:
    async with a_way(postgres_dsn) as way:
        await way.take(a_batch(message("a", 1)))
        await way.pool.execute("UPDATE store.sensor_readings SET temperature = 99")
    assert command("run", "proof").returncode == 1
    listed = json.loads(command("resume", "--list", "--json").stdout)
    *_, failed = [run for run in listed if run["flow"] == "proof"]
    assert "1 difference." in failed["reason"]
    ours = await Installation.of(load(postgres_dsn=postgres_dsn))
    (seen,) = [each.run for each in await failed_runs(ours)]
    assert seen.name == failed["name"]

    again = command("resume", failed["name"])  # the cause is still there
    assert (again.returncode, again.stdout) == (1, f"proof {failed['name']}: failed\n")
    connection = await connect(postgres_dsn, application="test")
    await connection.execute("UPDATE store.sensor_readings SET temperature = 20.5")
    await connection.close()
    done = command("resume", failed["name"])
    assert (done.returncode, done.stdout) == (0, f"proof {failed['name']}: completed\n"), done.stderr
    run = await client.read_flow_run(seen.id)
    assert (run.state_type, run.parameters) == (StateType.COMPLETED, seen.parameters)
    assert failed["name"] not in command("resume", "--list").stdout
    nothing = command("resume", failed["name"])
    assert (nothing.returncode, nothing.stderr.splitlines()[-1]) == (0, NOTHING)


def test_a_cancelled_run_is_run_again_only_by_its_name(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = Cancelled()
    cancelled = FlowRun(flow_id=uuid4(), name="unwanted", state=state, state_type=state.type)

    async def found(_: Installation) -> list[FailedRun]:
        return [FailedRun(flow="proof", run=cancelled)]

    async def completed(_: FailedRun) -> StateType:
        return StateType.COMPLETED

    monkeypatch.setattr("console.cli.resume.start_prefect", lambda: load(postgres_dsn=postgres_dsn))
    monkeypatch.setattr("flows.worker.resume.failed_runs", found)
    monkeypatch.setattr("flows.worker.resume.resume", completed)
    resume()
    assert NOTHING == "No flow run waits to be resumed."
    assert capsys.readouterr() == ("", f"{NOTHING}\n")
    resume(["unwanted"])
    assert capsys.readouterr().out == "proof unwanted: completed\n"


async def test_a_run_that_an_older_version_asked_for_is_run_by_the_flow_of_pulls(
    command: Headwater, client: PrefectClient, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = await Installation.of(load(postgres_dsn=postgres_dsn))
    robot = Robot(seconds=0)
    async with serve_robot(robot) as url:
        await robot.up()
        run = await robot.play(serial_dilution(1))
        parameters = {"request": {"robot": "ot2", "experiment_id": run.id}}
        flow_id = await client.create_flow_from_name("headwater-experiments")
        old = await client.create_flow_run(
            Flow(pull.fn, name="headwater-experiments"), parameters=parameters, tags=[ours.mark]
        )
        assert old.flow_id == flow_id
        for each in (Running(), Failed(message="no disk")):
            await client.set_flow_run_state(old.id, each, force=True)
        monkeypatch.setenv("HEADWATER_ROBOTS", f"ot2={url}")
        done = await asyncio.to_thread(command, "resume", old.name)
    assert (done.returncode, done.stdout) == (0, f"experiments {old.name}: completed\n"), done.stderr
    connection = await connect(postgres_dsn, application="test")
    assert await connection.fetchval("SELECT status FROM experiments") == "succeeded"
    await connection.close()


async def test_only_what_nobody_has_done_since_is_listed(
    client: PrefectClient, installation: Installation
) -> None:
    weekly, daily, monthly = ({"schedule": {"every": every}} for every in ("P7D", "P1D", "P30D"))
    before = await ended(client, installation, weekly, Completed())
    failed = [await ended(client, installation, weekly, Failed(message="no disk")) for _ in range(2)]
    crashed = await ended(client, installation, daily, Crashed())
    cancelled = await ended(client, installation, {"schedule": {"every": "P90D"}}, Cancelled())
    repaired = await ended(client, installation, monthly, Failed())
    await ended(client, installation, monthly, Completed())
    found = {each.run.id: each for each in await failed_runs(installation)}
    assert {failed[1].id, crashed.id, cancelled.id} <= found.keys()
    assert found[cancelled.id].reason == "Cancelled"
    assert not {before.id, failed[0].id, repaired.id} & found.keys()
    assert found[failed[1].id].reason == "no disk"
    assert found[failed[1].id].parameters == weekly
