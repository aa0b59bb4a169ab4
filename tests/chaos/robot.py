"""A robot that plays one run after the other, in a thread of its own; what its runs were in the end."""

import asyncio
import threading
from dataclasses import dataclass
from itertools import cycle

from infra.simulators.robot import Robot, mqtt_publisher, protocols_of, serve_robot

PAUSE = 1.0  # seconds between two runs
AHEAD = 12  # how many runs ago the first one that is not stored yet may be; the robot forgets all but 20
SECONDS = 0.02  # per command


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it ended: its status, and the status of each command by its id."""

    status: str
    commands: dict[str, str]


class Player(threading.Thread):
    """Plays until `play_no_more`; `stored` is told which runs the store has, so that it is not far ahead."""

    def __init__(self, broker: str, seed: int) -> None:
        super().__init__(name="robot", daemon=True)
        self.runs: dict[str, Run] = {}
        self.stored: frozenset[str] = frozenset()
        self.url = ""
        self.error: BaseException | None = None
        self._broker, self._seed = broker, seed
        self._up, self._finishing, self._played = (threading.Event() for _ in range(3))

    def up(self, patience: float = 30.0) -> str:
        """Start, and wait until it answers; its URL."""
        self.start()
        if not self._up.wait(patience):
            raise TimeoutError(f"The robot does not come up: {self.error}")
        return self.url

    def play_no_more(self, patience: float) -> None:
        """Bring its current run to its end; what was played can still be asked for."""
        self._finishing.set()
        if not self._played.wait(patience):
            raise TimeoutError(f"The robot does not end its run: {self.error}")

    def run(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self.error = error
            raise

    async def _run(self) -> None:
        async with mqtt_publisher(self._broker) as publish:
            robot = Robot(protocols=protocols_of(self._seed), publish=publish, seconds=SECONDS)
            async with serve_robot(robot) as self.url:
                await robot.up()
                self._up.set()
                await self._play(robot)
                self._played.set()
                await asyncio.Event().wait()

    async def _play(self, robot: Robot) -> None:
        for protocol in cycle(list(robot.protocols.values())):
            if self._finishing.is_set():
                return
            if self.stored.issuperset([*self.runs][:-AHEAD]):
                run = await robot.play(protocol)
                self.runs[run.id] = Run(run.status, {each["id"]: each["status"] for each in run.commands})
            await asyncio.sleep(PAUSE)
