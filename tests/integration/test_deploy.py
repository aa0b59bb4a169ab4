"""Every deployment on a real Prefect server, and flows that run there."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, State, StateType
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow_async
from prefect.states import Completed, Scheduled

from flows.acts.asking import PullRequest
from flows.batch.pull import NAME, pull
from flows.batch.runs import Schedule, missed
from flows.catalog import Pipeline
from flows.catalog.pipeline import FLOWS
from flows.process.ours import Installation
from flows.worker.deploy import declared, deploy
from flows.worker.deployed_pulls import deploy_pulls
from flows.worker.runnable import descriptions, load_flow, parameters
from infra.local.addresses import Address
from infra.settings import load
from lineage.errors import NotFoundError, SettingsError
from tests.fixtures import catalogs
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.prefect import a_client, variables

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
async def client(prefect_server: Address, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PrefectClient]:
    for name, value in variables(prefect_server).items():  # of Prefect's command
        monkeypatch.setenv(name, value)
    async with a_client(prefect_server) as client:
        yield client


async def test_everything_declared_arrives_with_its_schedule_owner_and_limit(
    client: PrefectClient, installation: Installation
) -> None:
    await deploy(client, installation)
    on_server = await installation.deployments(client)
    assert len(on_server) == len(declared())
    for wanted in declared():
        deployment = on_server[installation.deployment(wanted["name"])]
        assert deployment.entrypoint == wanted["entrypoint"]
        assert any(tag.startswith("owner:") for tag in deployment.tags)
        assert deployment.global_concurrency_limit is not None
        assert deployment.global_concurrency_limit.limit == wanted["concurrency_limit"]
        assert len(deployment.schedules) == len(wanted.get("schedules", []))
        for schedule in deployment.schedules:
            assert isinstance(schedule.schedule, CronSchedule)
            assert schedule.schedule.timezone == "UTC"
        assert deployment.schedules


def test_no_pipeline_that_is_asked_is_called_as_a_flow_of_ours(tmp_path: Path) -> None:
    assert {each["name"] for each in declared()} == FLOWS
    numbers(tmp_path)
    (tmp_path / "numbers").rename(tmp_path / "proof")
    assert "proof is a flow of ours: give the pipeline another name." in catalogs.why_not(tmp_path)


async def test_the_demo_runs_the_hourly_schedules_at_its_own_interval(
    client: PrefectClient, installation: Installation
) -> None:
    for _again in range(2):
        await deploy(client, installation, timedelta(seconds=7), SHIPPED.pulls)
    on_server = await installation.deployments(client)
    found = {name: on_server[installation.deployment(name)].schedules for name in descriptions(SHIPPED)}
    fast = {
        name
        for name, schedules in found.items()
        if schedules and isinstance(schedules[0].schedule, IntervalSchedule)
    }
    assert fast == {"aggregates", "proof"}
    for name in fast:
        (schedule,) = found[name]
        assert schedule.schedule.interval == timedelta(seconds=7)


def numbers(tmp_path: Path) -> Pipeline:
    source = {"type": "tests.fixtures.lines_source:Lines", "path": "numbers.txt"}
    table = {"name": "numbers", "key": ["at"], "time": "at", "columns": {"at": {"type": "timestamp"}}}
    said = {"doc": "Numbers.", "owner": "us", "source": source, "table": table}
    catalogs.written(
        tmp_path / "numbers" / "pipeline.yaml",
        said | {"schedule": {"cron": "*/10 * * * *", "zone": "Europe/Berlin"}},
    )
    return catalogs.read(tmp_path).pipeline("numbers")


async def test_a_pipeline_that_is_asked_arrives_and_is_paused_when_it_is_gone(
    client: PrefectClient, installation: Installation, tmp_path: Path
) -> None:
    pipeline = numbers(tmp_path)
    for _again in range(2):
        deployed = await deploy(client, installation, pulls=[pipeline])
    assert len(await installation.deployments(client)) == len(declared()) + 1
    found = deployed["numbers"]
    (schedule,) = found.schedules
    assert schedule.active
    assert isinstance(schedule.schedule, CronSchedule)
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("*/10 * * * *", "Europe/Berlin")
    assert found.parameters == {"request": {"pipeline": "numbers"}}
    assert "owner:us" in found.tags
    assert found.global_concurrency_limit is not None
    assert found.global_concurrency_limit.limit == 1
    for there, paused in (([], True), ([pipeline], False)):
        await deploy_pulls(client, installation, there, {})
        assert (await client.read_deployment(found.id)).paused is paused
    other = replace(installation, mark="headwater:another")
    assert await other.taken(client, {"numbers": NAME}) == [installation.deployment("numbers")]
    assert await installation.taken(client, {"numbers": NAME}) == []


ROBOTS = {"ot2": "http://127.0.0.1:9", "ot3": "http://127.0.0.1:9"}


async def test_robots_are_a_pipeline_that_is_asked_with_a_schedule_for_each_robot_known(
    client: PrefectClient, installation: Installation
) -> None:
    for robots in (ROBOTS, {}, ROBOTS):
        deployed = await deploy(client, installation, pulls=SHIPPED.pulls, robots=robots)
        found = deployed["experiments"]
        assert len(deployed) == len(await installation.deployments(client)) == len(declared()) + 1
        assert len({each.id for each in found.schedules}) == len(found.schedules) == len(robots)
    assert found.entrypoint == "flows/batch/pull.py:pull"
    asked = [each.parameters["request"] for each in found.schedules]
    assert sorted(asked, key=lambda each: each["robot"]) == [
        {"pipeline": "experiments", "robot": "ot2"},
        {"pipeline": "experiments", "robot": "ot3"},
    ]
    assert {str(each.schedule.cron) for each in found.schedules} == {"25 * * * *"}  # type: ignore[union-attr]
    assert found.global_concurrency_limit is not None
    assert found.global_concurrency_limit.limit == 4
    assert found.concurrency_options is not None
    assert found.concurrency_options.collision_strategy is ConcurrencyLimitStrategy.ENQUEUE


async def test_what_an_older_version_deployed_for_robots_is_deleted_where_it_is_ours_alone(
    client: PrefectClient, installation: Installation
) -> None:
    flow_id = await client.create_flow_from_name("headwater-experiments")
    name, old = installation.deployment("experiments"), "flows/batch/experiments.py:experiments"
    made = [
        await client.create_deployment(flow_id, each, entrypoint=old, tags=tags)
        for each, tags in (
            (name, [installation.mark]),
            (f"{name}-b", ["headwater:another"]),
            (f"{name}-c", []),
        )
    ]
    run = await client.create_flow_run_from_deployment(made[0])
    await client.set_flow_run_state(run.id, Completed(), force=True)
    deployed = await deploy(client, installation, pulls=SHIPPED.pulls)
    assert deployed["experiments"].id not in made
    with pytest.raises(ObjectNotFound):
        await client.read_deployment(made[0])
    for others in made[1:]:
        assert (await client.read_deployment(others)).entrypoint == old
    assert (await client.read_flow_run(run.id)).state_type is StateType.COMPLETED


@flow(name="scheduled", persist_result=False)
async def scheduled(schedule: Schedule) -> str | State[None]:
    return missed(schedule) or "ran"


@pytest.mark.parametrize(("late", "state"), [(0, StateType.COMPLETED), (3_700, StateType.CANCELLED)])
async def test_a_run_that_comes_an_interval_late_cancels_itself(
    client: PrefectClient, prefect_server: Address, late: int, state: StateType
) -> None:
    deployment = await client.create_deployment(await client.create_flow(scheduled), f"late-{late}")
    due = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(seconds=late))
    run = await client.create_flow_run_from_deployment(deployment, state=due)
    with (
        closing(
            sqlite3.connect(prefect_server.log.parents[1] / "prefect" / "prefect.db", timeout=30)
        ) as database,
        database,
    ):
        # Only the server's own scheduler can say so.
        database.execute("UPDATE flow_run SET auto_scheduled = 1 WHERE id = ?", (str(run.id),))
    ended = await run_flow_async(
        scheduled,
        flow_run=await client.read_flow_run(run.id),
        parameters={"schedule": Schedule()},
        return_type="state",
    )
    assert isinstance(ended, State)
    assert ended.type is state
    if state is StateType.CANCELLED:
        assert ended.name == "Missed"


RUN = "7a2c2c8c-3b54-4a5c-9d9c-1f5b7c6d1e11"


def test_flows_are_run_by_name_with_parameters_from_text() -> None:
    assert load_flow("experiments", SHIPPED) is pull
    given = parameters("experiments", SHIPPED, {"robot": "a", "experiment_id": RUN})
    assert given == {
        "request": PullRequest.model_validate(
            {"pipeline": "experiments", "robot": "a"} | {"experiment_id": RUN}
        )
    }
    assert str(given["request"]) == f"experiments a {RUN}"
    assert parameters("partitions", SHIPPED, {}) == {}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, r"robot: field required\); it takes robot, experiment_id\."),
        ({"robot": "a", "experiment_id": "r1"}, "experiment_id: input should be a valid uuid"),
        ({"robot": "a", "experimentid": RUN}, "no parameter 'experimentid': did you mean experiment_id?"),
        ({"robot": "a", "pipeline": "sensors"}, "no parameter 'pipeline': it takes robot, experiment_id"),
    ],
)
def test_what_a_run_cannot_be_told_is_said_with_the_nearest_word(given: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        parameters("experiments", SHIPPED, given)


@pytest.mark.parametrize(
    ("robot", "hint"), [("ot3", "did you mean ot2?"), ("flex", r"\(there: ot2\): add it\.")]
)
def test_a_robot_that_is_not_there_is_said_with_the_nearest_name(robot: str, hint: str) -> None:
    request = PullRequest.model_validate({"pipeline": "experiments", "robot": robot})
    with pytest.raises(NotFoundError, match=hint):
        request.check(load(robots="ot2=http://127.0.0.1:9"))


def test_a_pull_without_parameters_says_that_it_takes_none(tmp_path: Path) -> None:
    numbers(tmp_path)
    with pytest.raises(SettingsError, match="A run of numbers has no parameter 'from': it takes none"):
        parameters("numbers", catalogs.read(tmp_path), {"from": "1"})


def test_a_stream_and_an_unknown_name_say_what_to_do() -> None:
    with pytest.raises(NotFoundError, match="headwater listen --pipeline sensors"):
        load_flow("sensors", SHIPPED)
    with pytest.raises(NotFoundError, match="choose from partitions"):
        load_flow("sensor", SHIPPED)
