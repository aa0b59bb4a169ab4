"""The worker: what `headwater serve` runs.

prefect.yaml and the catalog ─deploy─▶ Prefect's server ─schedules─▶ a process per flow run
robots' notices and slow polling ─watch─▶ flow runs in this process, started in tenths of a second
messages of triggers ─▶ flow runs of any deployment, once each (flows/triggers/)
Prefect's server ─events of @materialize─▶ the lineage log
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.workers.process import ProcessWorker
from pydantic import SecretStr

from flows.acts.asking import readers, request, robots_of
from flows.acts.partitions import extend
from flows.batch.pull import pull
from flows.catalog import Catalog
from flows.process import lifecycle, stores
from flows.process.counting import metrics
from flows.process.ours import Installation
from flows.process.prefect_errors import translated
from flows.process.retry import without_end
from flows.triggers import run_triggers
from flows.worker.assets import capture_assets
from flows.worker.deploy import deploy
from flows.worker.robot_watch import LostAt, RobotWatch, Start, Tell
from flows.worker.warm import WarmRunner
from infra.mqtt.address import SYSTEM, MqttEndpoint
from infra.mqtt.client import Subscriber, end_session
from infra.settings import Robot, Settings
from lineage import lost
from lineage.errors import HeadwaterError
from tasks.extract.opentrons import RobotOptions, RobotRun, RunSeen, robot_client
from tasks.extract.robot_notices import NOTICE_TOPICS, runs_to_fetch

log = structlog.get_logger(__name__)

RECOVER_EVERY = 30.0  # seconds between two looks for runs whose process is gone
GIVEN_UP: Final = (StateType.FAILED, StateType.CANCELLING, StateType.CANCELLED)  # not started again by itself


async def serve(settings: Settings, catalog: Catalog) -> None:
    """Deploy everything and run it until SIGTERM or SIGINT."""
    state = lifecycle.State()
    for pipeline in catalog.pulls:
        metrics().declare(pipeline.name)
    with lifecycle.stop_signal() as stop, lifecycle.observed(settings, state.health):
        state.facts = lifecycle.left_out(catalog.broken)
        await lifecycle.unless(stop, _serve(settings, catalog, state))


async def _serve(settings: Settings, catalog: Catalog, state: lifecycle.State) -> None:
    await without_end(lambda: extend(settings, catalog, datetime.now(UTC)), what="tables")
    ours = await without_end(partial(Installation.of, settings), what="installation")
    async with get_client() as client:
        deploying = partial(_deploy, client, ours, settings, catalog)
        deployments = await without_end(deploying, what="deploy")
        state.did("deploy", deployments=len(deployments))
        runners = {
            pipeline.name: WarmRunner(client, pull, deployments[pipeline.name].id, options.runs_at_once)
            for pipeline, options in readers(catalog)
        }
        state.running("serving")
        await lifecycle.together(
            without_end(partial(_take_runs, ours), what="worker"),
            *map(_recover, runners.values()),
            _watch_robots(settings, catalog, runners, state),
            capture_assets(settings, state),
            run_triggers(settings, catalog, client, ours, state),
        )


async def _deploy(
    client: PrefectClient, ours: Installation, settings: Settings, catalog: Catalog
) -> dict[str, DeploymentResponse]:
    with translated():
        return await deploy(client, ours, settings.schedule_every, catalog.pulls, robots_of(settings))


async def _take_runs(ours: Installation) -> None:
    """Take runs from our queue alone: what others put into the pool neither runs here nor is in the way.

    A worker ends with the first request that the server cannot answer: it is begun anew.
    """
    worker = ProcessWorker(work_pool_name=ours.pool, work_queues=[ours.pool], create_pool_if_not_found=False)
    with translated():
        await worker.start(printer=log.info)


async def _recover(runner: WarmRunner) -> None:
    async def once() -> int:
        with translated():
            return await runner.recover()

    while True:
        await without_end(once, what="recover")
        await asyncio.sleep(RECOVER_EVERY)


async def _watch_robots(
    settings: Settings, catalog: Catalog, runners: Mapping[str, WarmRunner], state: lifecycle.State
) -> None:
    """Watch every robot of the settings for each pipeline that reads robots.

    By the notices on the broker, and by looking now and then.
    """
    async with AsyncExitStack() as watches:
        by_broker: dict[str | None, list[RobotWatch]] = defaultdict(list)
        for pipeline, options in readers(catalog):
            for robot in settings.robots:
                start = partial(start_flow, runners[pipeline.name], state, pipeline.name)
                lost_at = partial(_lost_at, settings, options.robot(robot.name).dataset)
                watch = _watch(options, robot, start, partial(tell_of_robot, state), lost_at)
                by_broker[robot.notices].append(await watches.enter_async_context(watch))
        notices = [
            without_end(partial(_take_notices, settings, broker, robots), what="robots' notices")
            for broker, robots in by_broker.items()
        ]
        await lifecycle.together(*notices)


async def start_flow(
    runner: WarmRunner, state: lifecycle.State, pipeline: str, key: str, seen: RunSeen
) -> bool:
    """Run the flow for a robot's run as it was seen; whether that is settled, by its end or for a person."""
    told = RobotRun(robot=seen.robot, experiment_id=seen.run_id)
    with translated():
        ended = await runner.run(key, request(pipeline, told))
    state.did("flow run", key=key, outcome=ended.value)
    if ended in GIVEN_UP:
        log.warning("flow run not completed: see `headwater resume --list`", key=key, state=ended.value)
    return ended is StateType.COMPLETED or ended in GIVEN_UP


def tell_of_robot(state: lifecycle.State, robot: str, reason: str | None) -> None:
    """Show at /health and /metrics whether a robot answers."""
    metrics().robot_up.labels(robot).set(reason is None)
    state.tell(f"robot {robot}", "answers" if reason is None else f"away: {reason}")


async def _lost_at(settings: Settings, dataset: str) -> datetime | None:
    async with stores.open_connection(settings, "robots") as connection:
        return await lost.found_at(connection, dataset)


@asynccontextmanager
async def _watch(
    options: RobotOptions, robot: Robot, start: Start, tell: Tell, lost_at: LostAt
) -> AsyncIterator[RobotWatch]:
    source = options.robot(robot.name)
    async with robot_client(source, robot.url) as client:
        watch = RobotWatch(source, client, options, start, tell, lost_at)
        polling = asyncio.create_task(watch.poll())
        try:
            yield watch
        finally:
            polling.cancel()
            await watch.close()


async def _take_notices(settings: Settings, broker: str | None, robots: list[RobotWatch]) -> None:
    """Pass on what comes from a robot's own broker, or from ours.

    A notice does not say of which robot it is, so all of that broker are asked; who does not know the run
    says so.
    """
    own = MqttEndpoint(url=SecretStr(broker), tls=SYSTEM) if broker else stores.mqtt(settings)
    client_id = f"{settings.client_id}-robots"
    async with Subscriber(own.url.get_secret_value(), client_id, NOTICE_TOPICS, tls=own.tls) as notices:
        await _end_session_of_before(settings, own)
        async for topic, payload in notices:
            if (what := runs_to_fetch(topic, payload)) is not None:
                for robot in robots:
                    robot.notice(what)


async def _end_session_of_before(settings: Settings, broker: MqttEndpoint) -> None:
    """An older version had another client id, for which the broker would keep notices that nobody takes."""
    client_id = f"{settings.client_id}-trigger"
    try:
        await end_session(broker.url.get_secret_value(), client_id, tls=broker.tls)
    except HeadwaterError as error:  # it does no harm: the broker forgets it within a day
        log.warning("the session of an older version is left", client_id=client_id, reason=str(error))
