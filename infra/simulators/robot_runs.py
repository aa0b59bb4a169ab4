"""The small robot's runs: what one run is, and the shapes in which the real robot-server shows it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infra.simulators.robot_protocols import TRASH, Protocol, Step

ACTIVE = frozenset({"running", "paused", "finishing", "stop-requested"})
ENDED = frozenset({"succeeded", "failed", "stopped"})
NewId = Callable[[], str]
_TRASH = {
    "id": TRASH,
    "loadName": "opentrons_1_trash_1100ml_fixed",
    "definitionUri": "opentrons/opentrons_1_trash_1100ml_fixed/1",
    "location": {"slotName": "12"},
}
_LOST = "There was no engine state data for this run."


@dataclass(slots=True)
class Run:
    """One run; `commands` hold their results, which lists leave out."""

    id: str
    created_at: str
    protocol: Protocol | None
    status: str = "idle"
    ok: bool = True
    started_at: str | None = None
    completed_at: str | None = None
    actions: list[dict[str, Any]] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    pipettes: list[dict[str, Any]] = field(default_factory=list)
    labware: list[dict[str, Any]] = field(default_factory=list)
    liquids: list[dict[str, Any]] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)  # of what was loaded, by the protocol's names

    def __post_init__(self) -> None:
        if self.protocol is not None:
            self.labware.append(_TRASH)
            self.ids[TRASH] = TRASH

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def lose_data(self) -> None:
        """What a restart does to a run that had not ended."""
        self.status, self.ok = "stopped", False
        self.started_at = self.completed_at = None
        self.commands, self.errors, self.pipettes, self.labware = [], [], [], []

    def shown(self, current: bool) -> dict[str, Any]:
        """As `GET /runs/{id}` shows it."""
        lost = {} if self.ok else {"dataError": _data_error()}
        shown = {
            "id": self.id,
            "ok": self.ok,
            **lost,
            "createdAt": self.created_at,
            "status": self.status,
            "current": current,
            "actions": self.actions,
            "errors": self.errors,
            "hasEverEnteredErrorRecovery": False,
            "pipettes": self.pipettes,
            "modules": [],
            "labware": self.labware,
            "liquids": self.liquids,
            "labwareOffsets": [],
            "runTimeParameters": [],
            "outputFileIds": [],
        }
        optional = {
            "protocolId": self.protocol.id if self.protocol else None,
            "completedAt": self.completed_at,
            "startedAt": self.started_at,
        }
        return shown | {name: value for name, value in optional.items() if value is not None}

    def running_index(self) -> int | None:
        """The place of the running command."""
        return next((i for i, c in enumerate(self.commands) if c["status"] == "running"), None)

    def current_index(self) -> int | None:
        """The running command, else the last that was done."""
        running = self.running_index()
        done = [i for i, c in enumerate(self.commands) if c["status"] in ("succeeded", "failed")]
        return running if running is not None else (done[-1] if done else None)

    def default_cursor(self, page_length: int) -> int:
        """Where a page starts when no cursor is sent: that is why clients must send one."""
        queued = len([command for command in self.commands if command["status"] == "queued"])
        if (running := self.running_index()) is not None:
            return running
        if queued:
            return len(self.commands) - queued - 1
        failed = [i for i, command in enumerate(self.commands) if command["status"] == "failed"]
        if self.status == "failed" and failed:
            return failed[-1]
        return len(self.commands) - page_length


def queue_command(run: Run, step: Step, new_id: NewId, now: str) -> dict[str, Any]:
    """Append a command to a run, with the ids of what it uses."""
    params = dict(step.params)
    if step.pipette:
        params["pipetteId"] = run.ids["pipette"]
    if step.labware is not None and step.command_type != "loadLabware":
        params["labwareId"] = run.ids[step.labware]
    command = {
        "id": new_id(),
        "key": step.key,
        "commandType": step.command_type,
        "createdAt": now,
        "status": "queued",
        "params": params,
    }
    run.commands.append(command)
    return command


def finish_command(run: Run, command: dict[str, Any], step: Step, new_id: NewId, now: str) -> None:
    """A command succeeded: its result, and what it loaded."""
    params, result = command["params"], {}
    if step.command_type == "loadLabware" and step.labware is not None:
        run.ids[step.labware] = new_id()
        result = {"labwareId": run.ids[step.labware], "definition": {}}
        uri = f"{params['namespace']}/{params['loadName']}/{params['version']}"
        run.labware.append(
            {
                "id": run.ids[step.labware],
                "loadName": params["loadName"],
                "definitionUri": uri,
                "location": params["location"],
            }
        )
    elif step.command_type == "loadPipette":
        run.ids["pipette"] = new_id()
        result = {"pipetteId": run.ids["pipette"]}
        pipette = {"pipetteName": params["pipetteName"], "mount": params["mount"]}
        run.pipettes.append({"id": run.ids["pipette"], **pipette})
    elif "volume" in params:
        result = {"position": {"x": 0.0, "y": 0.0, "z": 0.0}, "volume": params["volume"]}
    command.update(status="succeeded", completedAt=now, notes=[], result=result)


def fail_command(command: dict[str, Any], error: dict[str, Any], now: str) -> None:
    command.update(status="failed", completedAt=now, notes=[], error=error)


def error_of(
    new_id: NewId, now: str, kind: str, detail: str, *wrapped: dict[str, Any], code: str = "4000"
) -> dict[str, Any]:
    """An error as commands and runs show it, with the errors it wraps."""
    return {
        "id": new_id(),
        "createdAt": now,
        "isDefined": False,
        "errorType": kind,
        "errorCode": code,
        "detail": detail,
        "errorInfo": {},
        "wrappedErrors": list(wrapped),
    }


def timestamp(moment: datetime) -> str:
    """As the robot writes times: microseconds, `+00:00`."""
    return moment.isoformat(timespec="microseconds")


def _data_error() -> dict[str, Any]:
    meta = {"type": "InvalidStoredData", "code": "4008", "message": _LOST, "detail": {}, "wrapping": []}
    return {
        "id": "RunDataError",
        "title": "Run Data Error",
        "detail": _LOST,
        "meta": meta,
        "errorCode": "4008",
    }
