"""Flow runs in a warm process, against a real Prefect server."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow
from prefect._internal.concurrency.cancellation import AsyncCancelScope
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Pending, Running

from flows.process import lifecycle
from flows.worker import serve, warm
from flows.worker.robot_watch import RobotWatch
from flows.worker.serve import start_flow
from flows.worker.warm import CLAIMED_FOR, LEASE, WarmRunner, is_abandoned, key_of
from infra.local.addresses import Address
from infra.simulators.robot import Robot, serial_dilution, serve_robot
from lineage.errors import UnavailableError
from tasks.extract.opentrons import RobotOptions, RobotSource, RunSeen, robot_client
from tests.fixtures.prefect import a_client, variables
from tests.fixtures.waiting import until

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = Path(__file__).parents[2]
executions: list[str] = []


@flow(name="noted", persist_result=False)
async def noted(word: str) -> str:
    executions.append(word)
    if word == "fails once" and executions.count(word) == 1:
        raise ValueError(word)
    if word == "needs a service" and executions.count(word) < 3:
        raise UnavailableError("Postgres", "it is away")
    if word == "loses its slot" and executions.count(word) == 1:
        with AsyncCancelScope() as scope:  # as Prefect does when the lease of a run's slot is gone
            scope.cancel()
            await asyncio.sleep(60)
    if word == "slow":
        await asyncio.sleep(0.5)
    return word


@flow(name="refusing", persist_result=False)
async def refusing(request: dict[str, str]) -> None:
    executions.append(request["robot"])
    raise ValueError("it cannot be stored")


@pytest.fixture
async def client(prefect_server: Address) -> AsyncIterator[PrefectClient]:
    executions.clear()
    async with a_client(prefect_server) as client:
        yield client


@pytest.fixture
async def deployment(client: PrefectClient) -> UUID:
    flow_id = await client.create_flow(noted)
    return await client.create_deployment(flow_id, f"noted-{uuid4().hex[:8]}")


def only(deployment: UUID) -> DeploymentFilter:
    return DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))


async def test_a_key_is_run_once_however_often_it_is_asked_for(
    client: PrefectClient, deployment: UUID
) -> None:
    runner = WarmRunner(client, noted, deployment, limit=4)
    key = uuid4().hex
    states = await asyncio.gather(*(runner.run(key, {"word": "slow"}) for _ in range(4)))
    assert executions == ["slow"]
    assert StateType.COMPLETED in states
    assert await runner.run(key, {"word": "slow"}) is StateType.COMPLETED
    assert executions == ["slow"]


async def test_the_same_key_of_another_installation_is_run_by_it_too(client: PrefectClient) -> None:
    """Two that watch one robot see the same of it, and each stores it."""
    flow, key = await client.create_flow(noted), uuid4().hex
    for name in ("one", "other"):
        deployment = await client.create_deployment(flow, f"{name}-{key[:8]}")
        runner = WarmRunner(client, noted, deployment, limit=1)
        assert await runner.run(key, {"word": name}) is StateType.COMPLETED
    assert executions == ["one", "other"]


async def test_who_has_waited_longest_is_next_and_prefect_is_asked_for_nobody_before(
    client: PrefectClient, deployment: UUID
) -> None:
    runner = WarmRunner(client, noted, deployment, limit=1)
    words = ["slow", "second", "third"]
    asked = [asyncio.create_task(runner.run(uuid4().hex, {"word": word})) for word in words]
    await until(lambda: executions == ["slow"])
    assert len(await client.read_flow_runs(deployment_filter=only(deployment))) == 1
    await asyncio.gather(*asked)
    assert executions == words


async def test_a_run_of_ours_that_we_cancel_is_cancelled(client: PrefectClient, deployment: UUID) -> None:
    runner = WarmRunner(client, noted, deployment, limit=4)
    running = asyncio.create_task(runner.run(uuid4().hex, {"word": "slow"}))
    await until(lambda: executions == ["slow"])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_crashed_is_run_again_when_it_is_asked_for_again(
    client: PrefectClient, deployment: UUID
) -> None:
    runner = WarmRunner(client, noted, deployment, limit=4)
    key = uuid4().hex
    assert await runner.run(key, {"word": "loses its slot"}) is StateType.CRASHED
    assert await runner.run(key, {"word": "loses its slot"}) is StateType.COMPLETED


async def test_what_failed_is_left_to_a_person(client: PrefectClient, deployment: UUID) -> None:
    runner = WarmRunner(client, noted, deployment, limit=4)
    key = uuid4().hex
    for _ in range(2):
        assert await runner.run(key, {"word": "fails once"}) is StateType.FAILED
    assert executions == ["fails once"]


async def test_what_lacked_a_service_is_run_again_when_it_is_asked_for_again(
    client: PrefectClient, deployment: UUID
) -> None:
    key = uuid4().hex
    for _ in range(2):  # the second time by another process, which knows only what Prefect's server says
        with pytest.raises(UnavailableError):
            await WarmRunner(client, noted, deployment, limit=4).run(key, {"word": "needs a service"})
    runner = WarmRunner(client, noted, deployment, limit=4)
    assert await runner.run(key, {"word": "needs a service"}) is StateType.COMPLETED


async def test_what_a_person_cancelled_stays_so(client: PrefectClient, deployment: UUID) -> None:
    key, parameters = uuid4().hex, {"word": "unwanted"}
    run = await client.create_flow_run_from_deployment(
        deployment, parameters=parameters, idempotency_key=key_of(deployment, key)
    )
    await client.set_flow_run_state(run.id, Cancelled(), force=True)
    runner = WarmRunner(client, noted, deployment, limit=4)
    assert await runner.run(key, parameters) is StateType.CANCELLED
    assert executions == []


async def test_a_robots_run_whose_flow_failed_is_told_once_and_asked_for_no_more(
    client: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id = await client.create_flow(refusing)
    runner = WarmRunner(client, refusing, await client.create_deployment(flow_id, uuid4().hex), limit=4)
    asked, told = list[str](), list[str]()
    monkeypatch.setattr(serve.log, "warning", lambda said, **_: told.append(said))

    async def start(key: str, seen: RunSeen) -> bool:
        asked.append(key)
        return await start_flow(runner, lifecycle.State(), "experiments", key, seen)

    robot, source = Robot(), RobotSource(name="ot2", dataset="opentrons:ot2/runs")
    async with serve_robot(robot) as url, robot_client(source, url) as http:
        await robot.up()
        watch = RobotWatch(source, http, RobotOptions(poll_every=timedelta(milliseconds=50)), start)
        await robot.play(serial_dilution(1))
        polling = asyncio.create_task(watch.poll())
        await until(lambda: bool(told))
        await asyncio.sleep(1)  # many polls
        polling.cancel()
        await watch.close()
    assert (len(asked), executions) == (1, ["ot2"])
    assert told == ["flow run not completed: see `headwater resume --list`"]


async def test_a_run_whose_process_is_gone_is_started_again(client: PrefectClient, deployment: UUID) -> None:
    abandoned = await _running(client, deployment, time.time() - 1)
    held = await _running(client, deployment, time.time() + 60)
    runner = WarmRunner(client, noted, deployment, limit=4)
    assert await runner.recover() == 1
    assert (await client.read_flow_run(abandoned)).state_type is StateType.COMPLETED
    assert (await client.read_flow_run(held)).state_type is StateType.RUNNING
    assert await runner.recover() == 0


async def test_an_abandoned_run_that_a_person_deletes_does_not_keep_the_others_waiting(
    client: PrefectClient, deployment: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = await _running(client, deployment, time.time() - 1)
    kept = await _running(client, deployment, time.time() - 1)
    again = warm.schedule_again

    async def after_a_person(client: PrefectClient, run: FlowRun, why: str) -> None:
        if run.id == deleted:
            await client.delete_flow_run(deleted)
        await again(client, run, why)

    monkeypatch.setattr(warm, "schedule_again", after_a_person)
    assert await WarmRunner(client, noted, deployment, limit=4).recover() == 2
    assert (await client.read_flow_run(kept)).state_type is StateType.COMPLETED
    assert executions == ["left"]


async def test_an_abandoned_run_that_has_a_process_by_the_time_there_is_room_is_left_to_it(
    client: PrefectClient, deployment: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [await _running(client, deployment, time.time() - 1) for _ in range(2)]
    again, begun = warm.schedule_again, list[UUID]()

    async def beside_another_process(client: PrefectClient, run: FlowRun, why: str) -> None:
        begun.append(run.id)
        (other,) = {*runs} - {run.id}
        await client.update_flow_run(other, tags=[f"{LEASE}{time.time() + 60:.0f}"])
        await again(client, run, why)

    monkeypatch.setattr(warm, "schedule_again", beside_another_process)
    await WarmRunner(client, noted, deployment, limit=1).recover()
    assert (len(begun), executions) == (1, ["left"])
    (other,) = {*runs} - {*begun}
    assert (await client.read_flow_run(other)).state_type is StateType.RUNNING


async def test_the_run_of_a_killed_process_is_started_again(
    client: PrefectClient, deployment: UUID, prefect_server: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of the flow, where it can neither say so nor give its lease back."""
    for name, value in variables(prefect_server).items():
        monkeypatch.setenv(name, value)
    command = (sys.executable, "-m", "tests.fixtures.warm_process", str(deployment))
    killed = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert killed.stdout is not None
    assert await killed.stdout.readline() == b"in the flow\n"
    killed.kill()
    await killed.wait()
    runner = WarmRunner(client, noted, deployment, limit=4)
    async with asyncio.timeout(30):
        # Until its lease is over.
        while await runner.recover() == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert executions == ["again"]
    (run,) = await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    )
    assert (run.state_type, run.run_count) == (StateType.COMPLETED, 2)


async def test_a_lease_is_renewed_after_the_server_was_away(
    client: PrefectClient, deployment: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "RENEW_EVERY", 0.02)
    monkeypatch.setattr(warm, "RENEW_AGAIN", 0.02)
    renew, tried = client.update_flow_run, 0

    async def away_at_first(flow_run_id: UUID, tags: list[str]) -> None:
        nonlocal tried
        tried += 1
        if tried <= 3:
            raise httpx.ConnectError("away")
        await renew(flow_run_id, tags=tags)

    monkeypatch.setattr(client, "update_flow_run", away_at_first)
    runner = WarmRunner(client, noted, deployment, limit=4)
    assert await runner.run(uuid4().hex, {"word": "slow"}) is StateType.COMPLETED
    assert tried > 4


async def _running(client: PrefectClient, deployment: UUID, lease: float) -> UUID:
    run = await client.create_flow_run_from_deployment(
        deployment, parameters={"word": "left"}, tags=[f"{LEASE}{lease:.0f}"]
    )
    for state in (Pending(), Running()):
        await client.set_flow_run_state(run.id, state, force=True)
    return run.id


async def test_a_run_claimed_long_ago_and_never_leased_is_abandoned() -> None:
    now = datetime.now(UTC)
    state = Pending(timestamp=now - CLAIMED_FOR - timedelta(seconds=1))
    run = FlowRun(flow_id=uuid4(), state=state, state_type=state.type)
    assert is_abandoned(run, now)
    assert not is_abandoned(run, now - timedelta(seconds=2))
