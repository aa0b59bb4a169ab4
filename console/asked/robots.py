"""Whether each robot of the settings answers now, for `headwater status` and `headwater doctor`."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from flows.batch.experiments import PIPELINE, source_of
from flows.catalog import Catalog
from infra.settings import Settings
from lineage.errors import HeadwaterError, UnavailableError
from tasks.extract.opentrons import list_runs, robot_client

PATIENCE: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotSeen:
    """A robot, how many runs it keeps, and why it does not answer as it should; empty: it does."""

    name: str
    runs: int = 0
    reason: str = ""


async def robots_seen(settings: Settings, catalog: Catalog) -> tuple[RobotSeen, ...]:
    """Ask every robot, at the same time."""
    return tuple(await asyncio.gather(*(_seen(settings, catalog, robot.name) for robot in settings.robots)))


async def _seen(settings: Settings, catalog: Catalog, name: str) -> RobotSeen:
    source, url = source_of(settings, catalog.pipeline(PIPELINE), name)
    try:
        async with robot_client(replace(source, patience=PATIENCE), url) as client:
            return RobotSeen(name=name, runs=len(await list_runs(client, source)))
    except UnavailableError as error:
        return RobotSeen(name=name, reason=error.reason)
    except HeadwaterError as error:
        return RobotSeen(name=name, reason=str(error))
