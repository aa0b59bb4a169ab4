"""A robot whose runs are stored by `headwater serve`: the worker is warm, the robot the small one."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count

from infra.mqtt.client import Publisher
from infra.postgres import Connection, connect
from infra.simulators.robot import Robot, serial_dilution, serve_robot
from tests.bench.services import Services

PATIENCE = 180.0  # seconds for one run to be stored: Prefect's SQLite may be locked for a minute
COMMAND = 0.005  # seconds that the robot takes for one
_STORED = "SELECT batch FROM experiments WHERE experiment_id = $1 AND status = 'succeeded'"


class Lab:
    """Plays runs one after the other, each until its end is stored and verified."""

    def __init__(self, robot: Robot, connection: Connection) -> None:
        self._robot, self._connection = robot, connection
        self._seeds = count(1)
        self._verified: dict[int, Mapping[str, float]] = {}

    async def play(self) -> Mapping[str, float]:
        """When a run ended on the robot ("ended"), and its flow's moments, see `worker.py`."""
        run = await self._robot.play(serial_dilution(next(self._seeds)))
        async with asyncio.timeout(PATIENCE):
            # Another process stores it, and has no event for us.
            while (batch := await self._stored(run.id)) not in self._verified:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        commands = await self._connection.fetchval(
            "SELECT count(*) FROM experiment_steps WHERE experiment_id = $1", run.id
        )
        if commands != len(run.commands):
            raise RuntimeError(f"{commands} of {len(run.commands)} steps of a run are stored")
        assert run.completed_at is not None
        return {"ended": datetime.fromisoformat(run.completed_at).timestamp(), **self._verified[batch]}

    async def _stored(self, run: str) -> int | None:
        batch: int | None = await self._connection.fetchval(_STORED, run)
        return batch

    async def follow(self, worker: subprocess.Popen[str]) -> None:
        """Take down what the worker tells of the batches it verified; of one, the first time."""
        assert worker.stdout is not None
        while line := await asyncio.to_thread(worker.stdout.readline):
            told = json.loads(line)
            self._verified.setdefault(told.pop("batch"), told)


@asynccontextmanager
async def a_lab(services: Services) -> AsyncIterator[Lab]:
    """It has played a first run, which is nobody's figure: by then the notices are subscribed to."""
    url, _ = services.broker.url, services.prefect  # both run before the worker is told of them
    async with Publisher(url) as publisher, services.database() as dsn:
        robot = Robot(publish=publisher.publish, seconds=COMMAND)
        async with serve_robot(robot) as url:
            await robot.up()
            with services.child("worker", dsn=dsn, HEADWATER_ROBOTS=f"ot2={url}") as worker:
                await services.ready(worker)
                connection = await connect(dsn, application="bench")
                lab = Lab(robot, connection)
                following = asyncio.create_task(lab.follow(worker))
                await lab.play()
                yield lab
                worker.terminate()
                await following
                await connection.close()
