"""Whether each robot of the settings answers now, for `headwater status` and `headwater doctor`."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from flows.acts.asking import readers, robots_of
from flows.catalog import Catalog
from infra.settings import Settings
from lineage.errors import HeadwaterError, UnavailableError
from tasks.extract.opentrons import RobotOptions, list_runs, robot_client

PATIENCE: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotSeen:
    """A robot, how many runs it keeps, and why it does not answer as it should; empty: it does."""

    name: str
    runs: int = 0
    reason: str = ""


async def robots_seen(settings: Settings, catalog: Catalog) -> tuple[RobotSeen, ...]:
    """Ask every robot, at the same time, as the first of these pipelines would; also where all are broken."""
    options = next((options for _, options in readers(catalog)), RobotOptions())
    asking = (_seen(options, name, url) for name, url in robots_of(settings).items())
    return tuple(await asyncio.gather(*asking))


async def _seen(options: RobotOptions, name: str, url: str) -> RobotSeen:
    robot = replace(options.robot(name), patience=PATIENCE)
    try:
        async with robot_client(robot, url) as client:
            return RobotSeen(name=name, runs=len(await list_runs(client, robot)))
    except UnavailableError as error:
        return RobotSeen(name=name, reason=error.reason)
    except HeadwaterError as error:
        return RobotSeen(name=name, reason=str(error))
