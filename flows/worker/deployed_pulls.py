"""Puts the pipelines whose source is asked on a Prefect server, each as a deployment of one flow (`pull.py`).

They stand in pipeline folders, not in `prefect.yaml`, which holds what belongs to the repository.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from flows.acts.asking import TAG, request, source_of
from flows.batch.pull import NAME
from flows.catalog import Pipeline
from flows.process.ours import FLOW, Installation
from tasks.extract.pull import NoParameters

log = structlog.get_logger(__name__)

ROOT: Final = Path(__file__).parents[2]
ENTRYPOINT: Final = "flows/batch/pull.py:pull"
OF_BEFORE: Final = frozenset({"flows/batch/experiments.py:experiments"})
"""What deployments of an older version run, which is not there any more."""
_CANCEL: Final = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
_WAIT: Final = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


async def deploy_pulls(
    client: PrefectClient, ours: Installation, pulls: Collection[Pipeline], robots: Mapping[str, str]
) -> None:
    """Deploy these, and pause those of ours that are no longer there; their runs stay to be seen."""
    await _delete_those_of_before(client, ours)
    flow = await client.create_flow_from_name(FLOW + NAME)
    for pipeline in pulls:
        await client.create_deployment(
            flow,
            ours.deployment(pipeline.name),
            entrypoint=ENTRYPOINT,
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            description=pipeline.doc,
            tags=[f"owner:{pipeline.owner}", TAG, ours.mark],
            parameters=request(pipeline.name, NoParameters()),
            schedules=schedules(pipeline, robots),
            concurrency_limit=source_of(pipeline).runs_at_once,
            concurrency_options=_when_full(pipeline),
            work_pool_name=ours.pool,
            work_queue_name=ours.pool,
            paused=False,
        )
    await _pause_others(client, await ours.deployments(client), {ours.deployment(p.name) for p in pulls})


def _when_full(pipeline: Pipeline) -> ConcurrencyOptions:
    """A run that meets one like it is not wanted, for that one reads to the end; another waits."""
    return _CANCEL if source_of(pipeline).run_parameters is NoParameters else _WAIT


async def _delete_those_of_before(client: PrefectClient, ours: Installation) -> None:
    """Their runs stay to be seen, and what waited among them is asked for anew."""
    for deployment in await ours.every_deployment(client):
        if deployment.entrypoint in OF_BEFORE:
            await client.delete_deployment(deployment.id)
            log.warning("deleted: it was of an older version", deployment=deployment.name)


async def _pause_others(
    client: PrefectClient, deployed: Mapping[str, DeploymentResponse], wanted: Collection[str]
) -> None:
    for name, deployment in deployed.items():
        if TAG in deployment.tags and name not in wanted and not deployment.paused:
            await client.pause_deployment(deployment.id)
            log.warning("paused: its pipeline is broken, or not in the catalog", deployment=name)


def schedules(pipeline: Pipeline, robots: Mapping[str, str]) -> list[DeploymentScheduleCreate]:
    """One for each run that is due at a time, with what it is told."""
    if pipeline.schedule is None:
        return []
    every, when = pipeline.schedule.every, dict[str, Any]()
    if every is not None:
        when["schedule"] = IntervalSchedule(interval=every, timezone="UTC")
    else:
        when["schedule"] = CronSchedule(cron=pipeline.schedule.cron or "", timezone=pipeline.schedule.zone)
    runs = source_of(pipeline).scheduled_runs(robots)
    return [DeploymentScheduleCreate(**when, parameters=request(pipeline.name, told)) for told in runs]
