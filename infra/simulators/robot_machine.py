"""The small robot itself: runs that are made, played, paused, stopped, kept and forgotten.

It holds no sockets: `robot_http` answers for it, and `publish` carries its notices.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import uuid4

from infra.simulators.robot_notices import (
    COMMANDS,
    MAINTENANCE,
    UNSUBSCRIBE,
    Notices,
    Publish,
    pre_serialized,
)
from infra.simulators.robot_protocols import Protocol
from infra.simulators.robot_runs import (
    ACTIVE,
    Run,
    error_of,
    fail_command,
    finish_command,
    queue_command,
    timestamp,
)

RUNS_KEPT = 20
_CRASH = ("UnexpectedProtocolError", "the gripper of this protocol is not there")


class ActionRefusedError(Exception):
    """The robot does not take this action in this state; the sentence is the real robot's."""


class Robot:
    """Plays protocols. `seconds` is how long a command takes, homing at the end included."""

    def __init__(
        self,
        *,
        protocols: Sequence[Protocol] = (),
        publish: Publish | None = None,
        seconds: float = 0.01,
        start_seconds: float = 0.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self.protocols = {protocol.id: protocol for protocol in protocols}
        self.runs: dict[str, Run] = {}  # oldest first
        self.current: str | None = None
        self.notices = Notices(publish)
        self._up = asyncio.Event()
        self._seconds = seconds
        self._start_seconds = start_seconds
        self._clock = clock
        self._new_id = new_id
        self._playing: asyncio.Task[None] | None = None
        self._go = asyncio.Event()
        self._made_since_start = False
        self.protocol_times = {protocol_id: self.now() for protocol_id in self.protocols}

    @property
    def starting(self) -> bool:
        return not self._up.is_set()

    async def start(self) -> None:
        """Come up: for `start_seconds` every request is answered with 503."""
        self.notices.start()
        if self._start_seconds > 0:
            await asyncio.sleep(self._start_seconds)
        self._up.set()

    async def up(self) -> None:
        """Wait until it answers."""
        await self._up.wait()

    async def stop(self) -> None:
        """Go down; a run that is going is cut off."""
        self._up.clear()
        await self._cut_off()
        await self.notices.stop()

    async def restart(self) -> None:
        """As after a power cut: what had not ended is there, but stopped, not ok and without its commands."""
        await self.stop()
        for run in self.runs.values():
            if not run.ended:
                run.lose_data()
        self.current, self._made_since_start = None, False
        await self.start()

    async def play(self, protocol: Protocol) -> Run:
        """Make a run of a protocol, play it, and wait for its end."""
        run = self.create_run(self.add_protocol(protocol))
        self.act(run, "play")
        await self.ended(run)
        return run

    def add_protocol(self, protocol: Protocol) -> Protocol:
        """Make a protocol known, as an upload would."""
        self.protocol_times.setdefault(protocol.id, self.now())
        return self.protocols.setdefault(protocol.id, protocol)

    async def ended(self, run: Run) -> None:
        """Wait until a run has ended, or its playing was cut off."""
        while not run.ended and self.current == run.id and (playing := self._playing) is not None:
            await asyncio.wait([playing])
            if not playing.cancelled():
                playing.result()  # a mistake of ours is not to be waited for
            if self._playing is playing:
                return

    def now(self) -> str:
        return timestamp(self._clock())

    def create_run(self, protocol: Protocol | None) -> Run:
        """A new current run; an idle one that was current is stopped, and the oldest beyond 20 vanish."""
        former = self.runs.get(self.current or "")
        if former is not None:
            if former.status in ACTIVE:
                raise ActionRefusedError("Current run is not idle or stopped.")
            self.release(former)
        run = Run(id=self._new_id(), created_at=self.now(), protocol=protocol)
        self.runs[run.id] = run
        self.current, self._made_since_start = run.id, True
        while len(self.runs) > RUNS_KEPT:
            del self.runs[next(iter(self.runs))]
        self.notices.run_changed(run.id)
        return run

    def release(self, run: Run) -> None:
        """The run is current no longer; one that was never played is stopped."""
        if run.status == "idle":
            run.status, run.completed_at = "stopped", self.now()
            self.notices.run_changed(run.id)
        self.current = None
        self.notices.run_changed(run.id)

    def delete_run(self, run_id: str) -> bool:
        """Forget a run. As on the real robot, notices go out even when there is no such run."""
        found = self.runs.pop(run_id, None) is not None
        if self.current == run_id:
            self.current = None
        if not self._made_since_start:
            self.notices.say("robot-server/runs")
            return found
        self.notices.run_changed(run_id)
        for topic in (f"robot-server/runs/{run_id}", COMMANDS, pre_serialized(run_id)):
            self.notices.say(topic, UNSUBSCRIBE)
        return found

    def act(self, run: Run, action: str) -> dict[str, str]:
        """Play, pause or stop the current run; raises ActionRefusedError as the real one answers 409."""
        if action == "stop":
            self._stop(run)
        elif run.ended and run.started_at is not None:
            raise ActionRefusedError("The run has already stopped.")
        elif action == "pause":
            if run.status != "running":
                raise ActionRefusedError("Cannot pause a run that is not running.")
            self._set_status(run, "paused")
            self._go.clear()
        elif not run.ended:
            self._play(run)
        record = {"id": self._new_id(), "createdAt": self.now(), "actionType": action}
        run.actions.append(record)
        return record

    def _play(self, run: Run) -> None:
        if run.status == "idle":
            self.notices.say(MAINTENANCE)
            run.started_at = self.now()
            self._set_status(run, "running")
            self._go.set()
            self._playing = asyncio.create_task(self._perform(run))
        elif run.status == "paused":
            self._set_status(run, "running")
            self._go.set()

    def _stop(self, run: Run) -> None:
        if run.ended or run.status in ("finishing", "stop-requested"):
            return
        playing = self._playing if run.status != "idle" else None
        self._set_status(run, "stop-requested")
        if playing is not None:
            playing.cancel()
        self._playing = asyncio.create_task(self._come_to_rest(run, playing))

    async def _come_to_rest(self, run: Run, playing: asyncio.Task[None] | None) -> None:
        if playing is not None:
            await asyncio.gather(playing, return_exceptions=True)
        for command in run.commands:
            if command["status"] == "running":
                error = error_of(self._new_id, self.now(), "RunStoppedError", "Run was cancelled")
                fail_command(command, error, self.now())
        await asyncio.sleep(self._seconds)
        self._end(run, "stopped")

    async def _perform(self, run: Run) -> None:
        protocol = run.protocol
        for index, step in enumerate(protocol.steps if protocol else ()):
            command = queue_command(run, step, self._new_id, self.now())
            await self._go.wait()
            command.update(status="running", startedAt=self.now())
            self.notices.say(COMMANDS)
            await asyncio.sleep(self._seconds)
            if protocol is not None and index == protocol.fails_at:
                if protocol.fails_in == "python":
                    finish_command(run, command, step, self._new_id, self.now())
                await self._fail(run, protocol, command)
                return
            finish_command(run, command, step, self._new_id, self.now())
        await self._go.wait()
        await self._finish(run, "succeeded")

    async def _fail(self, run: Run, protocol: Protocol, command: dict[str, object]) -> None:
        if protocol.fails_in == "command":
            detail = "Cannot perform this command without a tip attached."
            cause = error_of(self._new_id, self.now(), "TipNotAttachedError", detail, code="3020")
            fail_command(command, cause, self.now())
            summary = f"TipNotAttachedError: {detail}"
            wrapped = error_of(self._new_id, self.now(), "ProtocolCommandFailedError", summary, cause)
            said = f"ProtocolCommandFailedError [line 12]: {summary}"
        else:
            wrapped = error_of(self._new_id, self.now(), "PythonException", ": ".join(_CRASH))
            said = f"{_CRASH[0]} [line 12]: {_CRASH[1]}"
        run.errors.append(error_of(self._new_id, self.now(), "ExceptionInProtocolError", said, wrapped))
        await self._finish(run, "failed")

    async def _finish(self, run: Run, status: str) -> None:
        self._set_status(run, "finishing")
        await asyncio.sleep(self._seconds)
        self._end(run, status)

    def _end(self, run: Run, status: str) -> None:
        run.completed_at = self.now()
        self._set_status(run, status)
        self.notices.say(pre_serialized(run.id))

    def _set_status(self, run: Run, status: str) -> None:
        run.status = status
        self.notices.run_changed(run.id)

    async def _cut_off(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            await asyncio.gather(self._playing, return_exceptions=True)
            self._playing = None
