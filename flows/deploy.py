"""Puts every deployment of `prefect.yaml` on a Prefect server, and makes sure that none was left out.

Prefect's own command does it; it ignores what it does not understand, so what arrived is counted.
"""

import asyncio
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectAlreadyExists

from flows.catalog import ROOT
from lineage.errors import RejectedError

log = structlog.get_logger(__name__)

FILE = ROOT / "prefect.yaml"
WORK_POOL = "headwater"


def declared(file: Path = FILE) -> list[Mapping[str, Any]]:
    """The deployments the file declares."""
    deployments: list[Mapping[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    return deployments


async def deploy(client: PrefectClient, every: timedelta | None = None) -> list[DeploymentResponse]:
    """Deploy all of `prefect.yaml` to the server; `every` replaces the hourly schedules by this interval.

    Raises RejectedError when the server does not hold afterwards what the file declares.
    """
    await _make_work_pool(client)
    await _run_prefect("deploy", "--all", "--prefect-file", str(FILE))
    on_server = {deployment.name: deployment for deployment in await client.read_deployments()}
    wanted = {each["name"]: len(each.get("schedules", [])) for each in declared()}
    arrived = {name: len(deployment.schedules) for name, deployment in on_server.items()}
    missing = [name for name, schedules in wanted.items() if arrived.get(name) != schedules]
    if missing:
        names = ", ".join(missing)
        raise RejectedError(f"Prefect's server did not take all of prefect.yaml: look at {names}.")
    deployments = [on_server[name] for name in wanted]
    if every is not None:
        hourly = {str(each["name"]) for each in declared() if _is_hourly(each)}
        for deployment in deployments:
            if deployment.name in hourly:
                await _reschedule(client, deployment, every)
    log.info("deployed", deployments=len(deployments))
    return deployments


def _is_hourly(deployment: Mapping[str, Any]) -> bool:
    schedule: Mapping[str, Any] = deployment.get("parameters", {}).get("schedule", {})
    return schedule.get("every") == "PT1H"


async def _make_work_pool(client: PrefectClient) -> None:
    try:
        await client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
    except ObjectAlreadyExists:
        return


async def _reschedule(client: PrefectClient, deployment: DeploymentResponse, every: timedelta) -> None:
    if not deployment.schedules:
        return
    for schedule in deployment.schedules:
        await client.delete_deployment_schedule(deployment.id, schedule.id)
    interval = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=every, timezone="UTC"))
    await client.create_deployment_schedules(deployment.id, [interval])


async def _run_prefect(*arguments: str) -> None:
    """Prefect's own command; it finds the server where this process does, by `PREFECT_API_URL`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "--no-prompt", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        last = output.decode(errors="replace").strip().splitlines()[-5:]
        raise RejectedError(f"prefect {arguments[0]} failed: {' '.join(last)}")
