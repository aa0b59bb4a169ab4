"""A Prefect server that others use too: what is theirs stays as it is, what is ours is found and run."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.states import Failed, Running

from flows.process import ours
from flows.process.ours import Installation
from flows.worker import warm
from flows.worker.deploy import declared, deploy
from flows.worker.deployed_pulls import deploy_pulls
from flows.worker.doctor_prefect import check
from flows.worker.flow_runs import flow_runs
from flows.worker.resume import failed_runs
from flows.worker.runnable import load_flow
from flows.worker.warm import WarmRunner
from infra.doctor.finding import Level
from infra.local.addresses import Address
from infra.settings import load
from lineage.errors import RejectedError
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.prefect import a_client, variables
from tests.fixtures.strangers import ALIKE, a_stranger, crowd
from tests.integration.test_warm import noted

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.timeout(1200),  # Prefect's command to deploy takes its time, and each test calls it twice
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


OF_EXPERIMENTS = "flows/batch/experiments.py:experiments"


@pytest.fixture
async def client(prefect_server: Address, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PrefectClient]:
    for name, value in variables(prefect_server).items():  # of Prefect's command
        monkeypatch.setenv(name, value)
    async with a_client(prefect_server) as client:
        yield client


async def test_others_deployments_and_runs_stay_as_they_are(
    client: PrefectClient, installation: Installation
) -> None:
    theirs = [
        *[await a_stranger(client, name) for name in ALIKE],
        await a_stranger(client, "experiments", flow="headwater-pull", entrypoint="flows/batch/pull.py:pull"),
        await a_stranger(client, "experiments", flow="headwater-experiments", entrypoint=OF_EXPERIMENTS),
    ]
    await crowd(client, 250)
    before = [await each.seen(client) for each in theirs]
    robots = {f"ot{number}": "http://127.0.0.1:9" for number in range(3)}
    for every in (None, timedelta(seconds=7)):
        deployed = await deploy(client, installation, every, SHIPPED.pulls, robots)
    assert len(deployed) == len(await installation.deployments(client)) == len(declared()) + 1
    assert len(deployed["experiments"].schedules) == len(robots)
    assert await failed_runs(installation) == []
    runner = WarmRunner(client, load_flow("experiments", SHIPPED), deployed["experiments"].id, limit=1)
    assert await runner.recover() == 0
    assert await flow_runs(installation, 1_000) == []
    assert [await each.seen(client) for each in theirs] == before


async def test_two_installations_on_one_server_have_their_own_of_everything(
    client: PrefectClient, installation: Installation
) -> None:
    other = Installation("test-" + uuid4().hex[:8], f"headwater:{uuid4()}")
    first, second = await deploy(client, installation), await deploy(client, other)
    assert not {each.id for each in first.values()} & {each.id for each in second.values()}
    assert {each.work_pool_name for each in first.values()} == {installation.pool}
    assert {each.work_queue_name for each in second.values()} == {other.pool}
    run = await client.create_flow_run_from_deployment(second["proof"].id, state=Failed())
    await client.set_flow_run_state(run.id, Running(), force=True)
    await client.set_flow_run_state(run.id, Failed(), force=True)
    assert [each.run.id for each in await failed_runs(other)] == [run.id]
    assert await failed_runs(installation) == []


async def test_an_installation_with_the_name_of_another_is_refused_and_changes_nothing(
    client: PrefectClient, installation: Installation
) -> None:
    first = await deploy(client, installation)
    with pytest.raises(RejectedError, match=f"work pool {installation.pool}.*HEADWATER_INSTALLATION"):
        await deploy(client, replace(installation, mark=f"headwater:{uuid4()}"))
    again = await installation.deployments(client)
    assert {each.id: each.updated for each in first.values()} == {
        each.id: each.updated for each in again.values()
    }


async def test_a_work_pool_or_a_deployment_that_only_has_our_name_is_refused(
    client: PrefectClient, installation: Installation
) -> None:
    await client.create_work_pool(WorkPoolCreate(name=installation.pool, type="process"))
    with pytest.raises(RejectedError, match="work pool"):
        await deploy(client, installation)
    other = replace(installation, name=f"{installation.name}-b")
    names = {"proof": "headwater-proof", "experiments": "headwater-pull"}
    theirs = [await a_stranger(client, other.deployment(name), flow=flow) for name, flow in names.items()]
    before = [await each.seen(client) for each in theirs]
    with pytest.raises(RejectedError, match=f"deployment ({other.name}-(proof|experiments)(, )?){{2}} on"):
        await deploy(client, other, pulls=SHIPPED.pulls)
    assert [await each.seen(client) for each in theirs] == before


async def test_more_pipelines_than_one_answer_holds_are_all_deployed_and_paused_when_they_are_gone(
    client: PrefectClient, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "PAGE", 2)
    await client.create_work_pool(WorkPoolCreate(name=installation.pool, type="process"))
    (robots,) = SHIPPED.pulls
    pulls = [robots.model_copy(update={"name": f"robots-{number}"}) for number in range(7)]
    await deploy_pulls(client, installation, pulls, {"ot2": "http://127.0.0.1:9"})
    deployed = await installation.deployments(client)
    assert {len(each.schedules) for each in deployed.values()} == {1}
    assert deployed.keys() == {installation.deployment(each.name) for each in pulls}
    await deploy_pulls(client, installation, pulls[:1], {})
    left = await installation.deployments(client)
    assert [name for name, each in left.items() if not each.paused] == [installation.deployment("robots-0")]
    assert len(left) == 7


async def test_more_of_ours_than_one_answer_holds_are_all_found(
    client: PrefectClient, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "PAGE", 2)
    flow = load_flow("proof", SHIPPED)
    for number in range(5):
        run = await client.create_flow_run(flow, parameters={"n": number}, tags=[installation.mark])
        for state in (Running(), Failed()):
            await client.set_flow_run_state(run.id, state, force=True)
    assert len(await failed_runs(installation)) == 5
    assert len(await flow_runs(installation, 5)) == 5
    assert len(await flow_runs(installation, 3)) == 3
    deployment = await client.create_deployment(await client.create_flow(noted), uuid4().hex)
    for _ in range(5):
        run = await client.create_flow_run_from_deployment(
            deployment, parameters={"word": "left"}, tags=[f"{warm.LEASE}1"]
        )
        await client.set_flow_run_state(run.id, Running(), force=True)
    assert await WarmRunner(client, noted, deployment, limit=4).recover() == 5


async def test_doctor_tells_what_only_looks_like_ours_and_what_nobody_runs_any_more(
    client: PrefectClient, prefect_server: Address, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = load(home=tmp_path, postgres_dsn=postgres_dsn, prefect_api_url=prefect_server.url)
    mine = await Installation.of(settings)
    name = f"old-{uuid4().hex[:8]}"
    await a_stranger(client, name, entrypoint=declared()[0]["entrypoint"])
    await deploy(client, replace(mine, name="test-renamed"), pulls=SHIPPED.pulls)
    await deploy(client, mine, pulls=SHIPPED.pulls)
    warned = {each.sentence for each in await check(settings, SHIPPED) if each.level is Level.WARNING}
    (unmarked,) = [each for each in warned if "without a mark" in each]
    assert name in unmarked
    (left,) = [each for each in warned if "nobody runs any more" in each]
    assert left.count("test-renamed-") == len(declared()) + 1
    assert not [each for each in await check(settings, SHIPPED) if each.level is Level.PROBLEM]


async def test_a_run_by_hand_is_resumed_by_the_store_that_it_was_for_alone(
    client: PrefectClient, installation: Installation
) -> None:
    flow = load_flow("proof", SHIPPED)
    with installation.marking():
        state = await flow(return_state=True, schedule=json.loads('{"every": "nonsense"}'))
    assert state.type is StateType.FAILED
    assert len(await failed_runs(installation)) == 1
    assert await failed_runs(replace(installation, mark=f"headwater:{uuid4()}")) == []
