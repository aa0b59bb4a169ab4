"""From a robot's notice to a flow run, in tenths of a second.

    notice ─▶ look at the run ─▶ key of what was seen ─▶ flow run, once per key

A notice says only that something changed, may be lost, repeated or spurious, and may come before the robot's
HTTP answer does. So what counts is what is seen: a run is looked at for every notice, once more after its
end, once more when another run has become the current one, and slowly without any. A run that is still
going is stored at most every `revise_every`. Where a restored backup has lost some of a robot, all that it
still has is news again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from infra.http import HttpClient
from lineage.errors import HeadwaterError, UnavailableError
from tasks.extract.opentrons import RobotOptions, RobotSource, RunSeen, list_runs, look, notice_key

log = structlog.get_logger(__name__)

SETTLED_AFTER = timedelta(seconds=2)  # until an ended run is looked at once more
AGAIN_AFTER = timedelta(seconds=5)  # when the robot, or Prefect's server, was away

What = UUID | Literal["all"]
Start = Callable[[str, RunSeen], Awaitable[bool]]
"""Run the flow for a run as it was seen, under this key; whether that is settled: else the next poll asks."""


Tell = Callable[[str, str | None], None]
"""What becomes known of a robot: its name, and why it does not answer as it should; None: it does."""


LostAt = Callable[[], Awaitable[datetime | None]]
"""Tells when batches of the robot were last found to be lost."""


async def _never() -> datetime | None:
    """Nothing was ever lost."""
    return None


class _Health:
    """Whether a robot answers; a change is told once."""

    def __init__(self, robot: str, tell: Tell) -> None:
        self._robot, self._tell = robot, tell
        self._told = False

    def failed(self, reason: str) -> None:
        if not self._told:
            log.warning("a robot does not answer as it should, asked again", robot=self._robot, reason=reason)
        self._told = True
        self._tell(self._robot, reason)

    def answered(self) -> None:
        if self._told:
            log.info("the robot answers again", robot=self._robot)
        self._told = False
        self._tell(self._robot, None)


class RobotWatch:
    """Looks at one robot's runs when they may have changed, and starts the flow for what is new."""

    def __init__(
        self,
        robot: RobotSource,
        client: HttpClient,
        options: RobotOptions,
        start: Start,
        tell: Tell = lambda _name, _reason: None,
        lost_at: LostAt = _never,
    ) -> None:
        self._robot, self._client, self._options, self._start = robot, client, options, start
        self._lost_at: datetime | None = None
        self._ask_lost_at = lost_at
        self._health = _Health(robot.name, tell)
        self._due: dict[What, tuple[float, asyncio.Task[None]]] = {}  # visits to come, and when
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Lock()
        self._handled: dict[UUID, str] = {}  # run → the key last started
        self._started_at: dict[UUID, float] = {}
        self._settled: dict[UUID, bool | None] = {}  # ended, seen twice: was it current?

    def notice(self, what: What, after: timedelta = timedelta(0)) -> None:
        """Look at a run, or at all of them, soon; a visit that is due by then is enough."""
        at = asyncio.get_running_loop().time() + after.total_seconds()
        if what in self._due:
            due, visit = self._due[what]
            if due <= at:
                return
            visit.cancel()
        self._due[what] = at, self._begin(self._visit(what, after.total_seconds()))

    async def poll(self) -> None:
        """Look at all runs now and then, without end: notices get lost."""
        while True:
            self.notice("all")
            await asyncio.sleep(self._options.poll_every.total_seconds())

    async def close(self) -> None:
        """End the visits that are due, and what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("unforeseen, the next poll looks again", robot=self._robot.name, exc_info=error)

    async def _visit(self, what: What, after: float) -> None:
        await asyncio.sleep(after)
        async with self._looking:
            del self._due[what]  # a notice from here on means another visit
            try:
                await (self._look_at_all() if what == "all" else self._look_at(what))
            except UnavailableError as error:
                self._health.failed(str(error))
                self.notice(what, max(AGAIN_AFTER, timedelta(seconds=error.after or 0.0)))
            except HeadwaterError as error:
                self._health.failed(str(error))
            else:
                self._health.answered()

    async def _look_at_all(self) -> None:
        """A visit to every run that may have changed: what one answers is nothing to the others."""
        await self._forget_what_was_lost()
        listed = await list_runs(self._client, self._robot)
        self._forget(self._started_at.keys() - set(listed))
        for run_id, current in listed.items():
            if run_id not in self._settled or self._settled[run_id] != current:
                self.notice(run_id)

    async def _forget_what_was_lost(self) -> None:
        """Nothing is known to be stored any more once some of it was found to be lost."""
        try:
            lost_at = await self._ask_lost_at()
        except HeadwaterError as error:  # no fault of the robot: asked again with the next poll
            log.warning("not told what was lost", robot=self._robot.name, reason=str(error))
            return
        if lost_at != self._lost_at:
            self._lost_at = lost_at
            self._handled.clear()
            self._settled.clear()

    def _key(self, seen: RunSeen) -> str:
        """A flow run that completed before a loss says nothing after it."""
        return notice_key(seen) + (f":{self._lost_at.isoformat()}" if self._lost_at else "")

    def _forget(self, gone: set[UUID]) -> None:
        """The robot keeps few runs, and so do we."""
        for run_id in gone:
            del self._started_at[run_id]
            self._handled.pop(run_id, None)
            self._settled.pop(run_id, None)

    async def _look_at(self, run_id: UUID) -> None:
        """Start the flow for the run if it has changed and is due; not for one the robot does not know."""
        seen = await look(self._client, self._robot, run_id)
        if seen is None:
            log.debug("run unknown to the robot", robot=self._robot.name, run=str(run_id))
            return
        key = self._key(seen)
        if self._handled.get(run_id) == key:
            if seen.ended:
                self._settled[run_id] = seen.current
            return
        wait = self._wait(run_id) if not seen.ended else 0.0
        if wait > 0:
            self.notice(run_id, timedelta(seconds=wait))
            return
        self._handled[run_id] = key
        self._started_at[run_id] = asyncio.get_running_loop().time()
        self._begin(self._handle(key, seen))

    def _wait(self, run_id: UUID) -> float:
        """Seconds until a run that still goes is stored again."""
        started = self._started_at.get(run_id, float("-inf"))
        return started + self._options.revise_every.total_seconds() - asyncio.get_running_loop().time()

    async def _handle(self, key: str, seen: RunSeen) -> None:
        try:
            settled = await self._start(key, seen)
        except Exception as error:
            self._handled.pop(seen.run_id, None)
            self.notice(seen.run_id, AGAIN_AFTER)
            if not isinstance(error, HeadwaterError):
                raise
            log.warning("flow not completed, tried again", key=key, reason=str(error))
            return
        if not settled:
            self._handled.pop(seen.run_id, None)
        elif seen.ended:
            self.notice(seen.run_id, SETTLED_AFTER)
