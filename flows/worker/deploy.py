"""Puts every deployment of `prefect.yaml` and of the catalog on a Prefect server, and sees that all arrive.

Prefect's own command does it; it ignores what it does not understand, so what arrived is counted. The file
says what there is, and what is deployed bears our mark besides (`flows/process/ours.py`).
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import structlog
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectAlreadyExists
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from flows.batch.pull import NAME
from flows.catalog import Pipeline
from flows.process.ours import Installation
from flows.worker.deployed_pulls import deploy_pulls, schedules
from lineage.errors import RejectedError, UnavailableError

log = structlog.get_logger(__name__)

ROOT = Path(__file__).parents[2]
FILE = ROOT / "prefect.yaml"

_BUSY = "503 Service Unavailable"
"""What a server answers whose SQLite is locked for longer than Prefect's own client tries."""
_PAUSE = 5.0  # seconds, before it is asked again
_NOT_OURS = (
    "The {} on Prefect's server is not of this store: it belongs to another installation, or to one "
    "whose store is gone. Give this one a name of its own by HEADWATER_INSTALLATION, or delete it there."
)


def declared(file: Path = FILE) -> list[Mapping[str, Any]]:
    """The deployments the file declares."""
    deployments: list[Mapping[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    return deployments


async def deploy(
    client: PrefectClient,
    ours: Installation,
    every: timedelta | None = None,
    pulls: Sequence[Pipeline] = (),
    robots: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, DeploymentResponse]:
    """Deploy all of `prefect.yaml`, and the pipelines that are asked, for an installation.

    `every` replaces the hourly schedules of the file; `robots`: the URL of each. Returns all by their names
    there and in the catalog. Raises RejectedError when another has our names on the server, and when it does
    not hold afterwards what was declared.
    """
    await _claim(client, ours, pulls)
    with TemporaryDirectory() as directory:
        file = Path(directory) / "prefect.yaml"
        file.write_text(yaml.safe_dump(_marked(ours)), encoding="utf-8")
        await _run_prefect("deploy", "--all", "--prefect-file", str(file))
    await deploy_pulls(client, ours, pulls, robots)
    on_server = await ours.deployments(client)
    wanted = {str(each["name"]): len(each.get("schedules", [])) for each in declared()}
    wanted |= {pipeline.name: len(schedules(pipeline, robots)) for pipeline in pulls}
    found = {name: on_server.get(ours.deployment(name)) for name in wanted}
    arrived = {name: each for name, each in found.items() if each and len(each.schedules) == wanted[name]}
    if missing := wanted.keys() - arrived.keys():
        names = ", ".join(sorted(missing))
        raise RejectedError(f"Prefect's server did not take all deployments: look at {names}.")
    if every is not None:
        for each in filter(_is_hourly, declared()):
            await _reschedule(client, arrived[str(each["name"])], every)
    log.info("deployed", deployments=len(arrived))
    return arrived


async def _claim(client: PrefectClient, ours: Installation, pulls: Sequence[Pipeline]) -> None:
    """Make the work pool, which says whose it is; raises RejectedError when it, or a name, is another's."""
    own = f"Runs the flows of {ours.mark}"
    try:
        await client.create_work_pool(WorkPoolCreate(name=ours.pool, type="process", description=own))
    except ObjectAlreadyExists:
        if (await client.read_work_pool(ours.pool)).description != own:
            raise RejectedError(_NOT_OURS.format(f"work pool {ours.pool}")) from None
    flows = {str(each["name"]): str(each["name"]) for each in declared()}
    if taken := await ours.taken(client, flows | {pipeline.name: NAME for pipeline in pulls}):
        raise RejectedError(_NOT_OURS.format(f"deployment {', '.join(taken)}"))


def _marked(ours: Installation) -> dict[str, Any]:
    """The file as Prefect's command is to read it: every deployment with our name, mark and work pool."""
    pool = {"name": ours.pool, "work_queue_name": ours.pool}
    own = [
        {**each, "name": ours.deployment(each["name"]), "tags": [*each["tags"], ours.mark], "work_pool": pool}
        for each in declared()
    ]
    return {"name": "headwater", "deployments": own}


def _is_hourly(deployment: Mapping[str, Any]) -> bool:
    schedule: Mapping[str, Any] = deployment.get("parameters", {}).get("schedule", {})
    return schedule.get("every") == "PT1H"


async def _reschedule(client: PrefectClient, deployment: DeploymentResponse, every: timedelta) -> None:
    if not deployment.schedules:
        return
    for schedule in deployment.schedules:
        await client.delete_deployment_schedule(deployment.id, schedule.id)
    interval = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=every, timezone="UTC"))
    await client.create_deployment_schedules(deployment.id, [interval])


@retry(
    retry=retry_if_exception_type(UnavailableError),
    stop=stop_after_attempt(3),
    wait=wait_fixed(_PAUSE),
    reraise=True,
)
async def _run_prefect(*arguments: str) -> None:
    """Prefect's own command; it finds the server where this process does, by `PREFECT_API_URL`.

    Raises UnavailableError when the server stays too busy to answer, RejectedError when the command fails.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "--no-prompt", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        said = output.decode(errors="replace").strip()
        if _BUSY in " ".join(said.split()):
            raise UnavailableError("Prefect", "its server is too busy to deploy")
        raise RejectedError(f"prefect {arguments[0]} failed: {' '.join(said.splitlines()[-5:])}")
