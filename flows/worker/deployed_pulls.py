"""Puts the pipelines whose source is asked on a Prefect server, each as a deployment of one flow (`pull.py`).

They stand in pipeline folders, not in `prefect.yaml`, which holds what belongs to the repository.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import structlog
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from flows.batch.pull import NAME, PullRequest
from flows.catalog import Pipeline
from flows.catalog.schedule import PullSchedule
from flows.process.ours import FLOW, Installation

log = structlog.get_logger(__name__)

ROOT: Final = Path(__file__).parents[2]
ENTRYPOINT: Final = "flows/batch/pull.py:pull"
TAG: Final = "headwater-pull"
"""Which of our deployments are of pipelines."""
_ONE_AT_A_TIME: Final = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
"""A run that meets another is not wanted: that one reads to the end."""


async def deploy_pulls(client: PrefectClient, ours: Installation, pulls: Collection[Pipeline]) -> None:
    """Deploy these, and pause those of ours that are no longer there; their runs stay to be seen."""
    flow = await client.create_flow_from_name(FLOW + NAME)
    for pipeline in pulls:
        await client.create_deployment(
            flow,
            ours.deployment(pipeline.name),
            entrypoint=ENTRYPOINT,
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            description=pipeline.doc,
            tags=[f"owner:{pipeline.owner}", TAG, ours.mark],
            parameters={"request": PullRequest(pipeline=pipeline.name).model_dump()},
            schedules=_schedules(pipeline.schedule),
            concurrency_limit=1,
            concurrency_options=_ONE_AT_A_TIME,
            work_pool_name=ours.pool,
            work_queue_name=ours.pool,
            paused=False,
        )
    await _pause_others(client, await ours.deployments(client), {ours.deployment(p.name) for p in pulls})


async def _pause_others(
    client: PrefectClient, deployed: Mapping[str, DeploymentResponse], wanted: Collection[str]
) -> None:
    for name, deployment in deployed.items():
        if TAG in deployment.tags and name not in wanted and not deployment.paused:
            await client.pause_deployment(deployment.id)
            log.warning("paused: its pipeline is not in the catalog", deployment=name)


def _schedules(schedule: PullSchedule | None) -> list[DeploymentScheduleCreate]:
    if schedule is None:
        return []
    if schedule.every is not None:
        return [DeploymentScheduleCreate(schedule=IntervalSchedule(interval=schedule.every, timezone="UTC"))]
    return [DeploymentScheduleCreate(schedule=CronSchedule(cron=schedule.cron or "", timezone=schedule.zone))]
