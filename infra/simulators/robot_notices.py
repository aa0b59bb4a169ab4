"""The small robot's MQTT notices: real topics, no data, and a broker that may be away."""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable

from lineage.errors import UnavailableError

Publish = Callable[[str, bytes], Awaitable[None] | None]
ROOT = "robot-server"
RUNS = f"{ROOT}/runs"
COMMANDS = f"{RUNS}/commands_links"
MAINTENANCE = f"{ROOT}/maintenance_runs/current_run"
REFETCH = b'{"refetch": true}'
UNSUBSCRIBE = b'{"unsubscribe": true}'
RETRY_SECONDS = 0.5


def pre_serialized(run_id: str) -> str:
    return f"{RUNS}/pre_serialized_commands/{run_id}"


class Notices:
    """Publishes in order, QoS 1 and not retained (the publisher's business), without holding up the robot."""

    def __init__(self, publish: Publish | None) -> None:
        self._publish = publish
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._something = asyncio.Event()
        self._broker = asyncio.Event()
        self._broker.set()
        self._deaf = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._send_all())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def run_changed(self, run_id: str) -> None:
        self.say(RUNS)
        self.say(f"{RUNS}/{run_id}")

    def say(self, topic: str, payload: bytes = REFETCH) -> None:
        if self._publish is None or self._deaf:
            return
        self._waiting.append((topic, payload))
        self._empty.clear()
        self._something.set()

    def lose_broker(self, *, forever: bool = False) -> None:
        """The broker goes away. What happens meanwhile comes in a burst when it is back.

        `forever`: as when the broker is away while the robot starts: no notice ever comes again.
        """
        self._broker.clear()
        self._deaf = self._deaf or forever

    def find_broker(self) -> None:
        self._broker.set()

    async def flushed(self) -> None:
        """Wait until all that was said is with the broker."""
        await self._empty.wait()

    async def _send_all(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._waiting:
                await self._broker.wait()
                await self._send(*self._waiting[0])
                self._waiting.popleft()
            self._empty.set()

    async def _send(self, topic: str, payload: bytes) -> None:
        if self._publish is None:
            return
        while True:
            try:
                sent = self._publish(topic, payload)
                if inspect.isawaitable(sent):
                    await sent
            except UnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
