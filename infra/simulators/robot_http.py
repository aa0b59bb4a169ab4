"""The small robot over HTTP: the real robot-server's paths, header rules, paging and error bodies."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.simulators.robot_answers import (
    API_VERSION,
    RefusedError,
    answer,
    check_version,
    current_link,
    data_of,
    error_object,
    integer_parameter,
    invalid_object,
    json_body,
    meta_object,
    no_protocol,
    no_run,
)
from infra.simulators.robot_machine import ActionRefusedError, Robot
from infra.simulators.robot_runs import ACTIVE, Run
from lineage.errors import RejectedError

PAGE_LENGTH = 20
_ACTIONS = ("play", "pause", "stop", "resume-from-recovery", "resume-from-recovery-assuming-false-positive")
_BUSY = (
    "Run is currently active. Allow the run to finish or stop it with a `stop` action before attempting to "
    "modify it."
)
Handler = Callable[[Request], Awaitable[Response]]


def robot_app(robot: Robot) -> Starlette:
    """The ASGI application that answers for `robot`."""
    api = RobotApi(robot)
    paths: dict[str, dict[str, Handler]] = {
        "/health": {"GET": api.health},
        "/protocols": {"GET": api.list_protocols},
        "/protocols/{id}": {"GET": api.get_protocol},
        "/runs": {"GET": api.list_runs, "POST": api.create_run},
        "/runs/{id}": {"GET": api.get_run, "DELETE": api.delete_run, "PATCH": api.update_run},
        "/runs/{id}/actions": {"POST": api.act},
        "/runs/{id}/commands": {"GET": api.list_commands},
        "/runs/{id}/commands/{command}": {"GET": api.get_command},
        "/runs/{id}/commandErrors": {"GET": api.list_errors},
        "/runs/{id}/commandsAsPreSerializedList": {"GET": api.list_serialized},
    }
    routes = [
        Route(path, _endpoint(robot, handlers), methods=list(handlers)) for path, handlers in paths.items()
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})


@asynccontextmanager
async def serve_robot(robot: Robot, port: int = 0) -> AsyncIterator[str]:
    """Serve on loopback (a free port by default) and start the robot; yields the URL.

    Raises RejectedError when the port cannot be had.
    """
    listener = _listen(port)
    config = uvicorn.Config(
        robot_app(robot),
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    coming_up = asyncio.create_task(robot.start())
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        coming_up.cancel()
        await asyncio.gather(coming_up, return_exceptions=True)
        await robot.stop()
        server.should_exit = True
        await serving


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()  # who calls before the server accepts waits instead of being refused
    except OSError as error:
        listener.close()
        sentence = f"the robot cannot serve on port {port}: {error.strerror}; name another port, or 0."
        raise RejectedError(sentence) from error
    return listener


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the process this server is a guest of."""
        yield


class RobotApi:
    """One method per path of the real server."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot

    async def health(self, request: Request) -> Response:
        asked = request.headers.get("opentrons-version")
        try:
            check_version(asked)
        except RefusedError as error:
            if error.status == 400:
                raise
            said = "; ".join(f"header.opentrons-version: {e['detail']}" for e in error.errors)
            return answer({"message": said, "errorCode": "4000"}, 422, API_VERSION)
        body = {
            "name": "small-robot",
            "robot_model": "OT-2 Standard",
            "api_version": "0.0.0-small",
            "fw_version": "none",
            "board_revision": "2.1",
            "logs": [],
            "system_version": "0.0.0",
            "maximum_protocol_api_version": [2, 21],
            "minimum_protocol_api_version": [2, 0],
            "robot_serial": "simulator",
            "links": {},
        }
        version = API_VERSION if asked == "*" else min(int(asked or API_VERSION), API_VERSION)
        return answer(body, 200, version)

    async def list_protocols(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        data = [self._protocol(protocol_id) for protocol_id in self._robot.protocols]
        return answer({"data": data, "meta": {"cursor": 0, "totalLength": len(data)}})

    async def get_protocol(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        protocol_id = request.path_params["id"]
        if protocol_id not in self._robot.protocols:
            raise no_protocol(protocol_id)
        using = [
            {"id": run.id, "href": f"/runs/{run.id}"}
            for run in self._robot.runs.values()
            if run.protocol is not None and run.protocol.id == protocol_id
        ]
        return answer({"data": self._protocol(protocol_id), "links": {"referencingRuns": using}})

    async def list_runs(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        length = integer_parameter(request, "pageLength")
        data = [run.shown(run.id == self._robot.current) for run in self._robot.runs.values()]
        if length is not None:
            data = data[-length:] if length > 0 else []
        current = self._robot.current
        links = {"current": {"href": f"/runs/{current}"}} if current else {}
        return answer({"data": data, "links": links, "meta": {"cursor": 0, "totalLength": len(data)}})

    async def create_run(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        body = await json_body(request) if await request.body() else {"data": {}}
        protocol_id = data_of(body).get("protocolId")
        if protocol_id is not None and protocol_id not in self._robot.protocols:
            raise no_protocol(str(protocol_id))
        protocol = self._robot.protocols[protocol_id] if protocol_id is not None else None
        try:
            run = self._robot.create_run(protocol)
        except ActionRefusedError as error:
            raise RefusedError(
                409, error_object("RunAlreadyActive", "Run Already Active", str(error), "4001")
            ) from error
        return answer({"data": run.shown(current=True)}, 201)

    async def get_run(self, request: Request) -> Response:
        run = self._run_first(request)
        return answer({"data": run.shown(run.id == self._robot.current)})

    async def delete_run(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        run = self._robot.runs.get(request.path_params["id"])
        if run is not None and run.status in ACTIVE:
            raise RefusedError(409, error_object("RunNotIdle", "Run is not idle.", _BUSY, "4001"))
        if not self._robot.delete_run(request.path_params["id"]):
            raise no_run(request.path_params["id"])
        return answer({})

    async def update_run(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        run_id = request.path_params["id"]
        wanted = data_of(await json_body(request)).get("current")
        if run_id != self._robot.current:
            detail = f"Cannot update {run_id} because it is not the current run."
            raise RefusedError(409, error_object("RunStopped", "Run Stopped", detail))
        run = self._robot.runs[run_id]
        if run.status in ACTIVE and wanted is False:
            detail = "Current run is not idle or stopped."
            raise RefusedError(409, error_object("RunNotIdle", "Run is not idle.", detail, "4001"))
        if wanted is False:
            self._robot.release(run)
        return answer({"data": run.shown(run_id == self._robot.current)})

    async def act(self, request: Request) -> Response:
        run = self._run_first(request, "Run {} not found.")
        action = data_of(await json_body(request)).get("actionType")
        if action not in _ACTIONS:
            permitted = ", ".join(f"'{name}'" for name in _ACTIONS)
            detail = f"value is not a valid enumeration member; permitted: {permitted}"
            raise RefusedError(422, invalid_object(detail, pointer="/data/actionType"))
        if run.id != self._robot.current:
            detail = f"Run {run.id} is not the current run"
            raise RefusedError(409, error_object("RunStopped", "Run Stopped", detail))
        try:
            return answer({"data": self._robot.act(run, action)}, 201)
        except ActionRefusedError as error:
            refused = error_object("RunActionNotAllowed", "Run Action Not Allowed", str(error), "3000")
            meta = {"type": "RunActionNotAllowedError", "code": "3000", "message": str(error), "detail": {}}
            cause = {"code": "4000", "message": str(error), "detail": {}, "wrapping": []}
            kind = "RunStoppedError" if run.ended else "PauseNotAllowedError"
            refused["meta"] = {**meta, "wrapping": [{"type": kind, **cause}]}
            raise RefusedError(409, refused) from error

    async def list_commands(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        cursor, length = integer_parameter(request, "cursor"), integer_parameter(request, "pageLength")
        run = self._known(request.path_params["id"])
        length = PAGE_LENGTH if length is None else length
        total = len(run.commands)
        start = run.default_cursor(length) if cursor is None else cursor
        start = max(0, min(start, total - 1))
        page = run.commands[start : start + length] if length > 0 else []
        data = [{key: value for key, value in command.items() if key != "result"} for command in page]
        meta = {"cursor": start, "totalLength": total}
        return answer({"data": data, "links": current_link(run), "meta": meta})

    async def get_command(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        run = self._known(request.path_params["id"])
        wanted = request.path_params["command"]
        found = next((command for command in run.commands if command["id"] == wanted), None)
        if found is not None:
            return answer({"data": found})
        if run.id == self._robot.current:  # the real one crashes here; a run of the past answers 404
            detail = f"Command {wanted} does not exist"
            error = error_object("UnexpectedError", "Unexpected Internal Error", detail)
            raise RefusedError(500, {**error, "meta": meta_object("CommandDoesNotExistError", detail)})
        detail = f"Command {wanted} was not found."
        error = error_object("CommandNotFound", "Run Command Not Found", detail)
        raise RefusedError(404, {**error, "meta": meta_object("CommandNotFoundError", detail)})

    async def list_errors(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        run = self._known(request.path_params["id"])
        if run.id != self._robot.current:
            raise RefusedError(409, error_object("RunStopped", "Run Stopped", ""))
        data = [command["error"] for command in run.commands if "error" in command]
        return answer({"data": data, "meta": {"cursor": 0, "totalLength": len(data)}})

    async def list_serialized(self, request: Request) -> Response:
        check_version(request.headers.get("opentrons-version"))
        run = self._known(request.path_params["id"])
        if not run.ended:
            detail = "Pre-serialized commands are only available after a run has ended."
            title = "Pre-Serialized commands not available."
            error = error_object("PreSerializedCommandsNotAvailable", title, detail)
            raise RefusedError(
                503, {**error, "meta": meta_object("PreSerializedCommandsNotAvailableError", detail)}
            )
        data = [json.dumps(command) for command in run.commands]
        return answer({"data": data, "meta": {"cursor": 0, "totalLength": len(data)}})

    def _run_first(self, request: Request, sentence: str | None = None) -> Run:
        """Paths where an unknown run wins over a missing header, though not over one that is too old."""
        run_id = request.path_params["id"]
        version = request.headers.get("opentrons-version")
        if version is None and run_id not in self._robot.runs:
            raise no_run(run_id, sentence)
        check_version(version)
        if run_id not in self._robot.runs:
            raise no_run(run_id, sentence)
        return self._robot.runs[run_id]

    def _known(self, run_id: str) -> Run:
        run = self._robot.runs.get(run_id)
        if run is None:
            detail = f"Run {run_id} was not found."
            error = error_object("RunNotFound", "Run Not Found", detail)
            meta = meta_object("RunNotFoundError", detail) | {"detail": {"runId": run_id}}
            raise RefusedError(404, {**error, "meta": meta})
        return run

    def _protocol(self, protocol_id: str) -> dict[str, Any]:
        name = self._robot.protocols[protocol_id].name
        return {
            "id": protocol_id,
            "createdAt": self._robot.protocol_times[protocol_id],
            "files": [{"name": f"{name.lower().replace(' ', '_')}.py", "role": "main"}],
            "protocolType": "python",
            "robotType": "OT-2 Standard",
            "metadata": {"author": "bench", "protocolName": name},
            "analyses": [],
            "analysisSummaries": [],
            "protocolKind": "standard",
        }


def _endpoint(robot: Robot, handlers: dict[str, Handler]) -> Handler:
    """One path: refusals become error answers, and all of it is 503 until the robot is up."""

    async def endpoint(request: Request) -> Response:
        if robot.starting:
            detail = "The server's database has not finished initializing."
            error = error_object("DatabaseNotYetInitialized", "Database Not Yet Initialized", detail)
            return answer({"errors": [error]}, 503, API_VERSION)
        try:
            return await handlers["GET" if request.method == "HEAD" else request.method](request)
        except RefusedError as error:
            return answer({"errors": error.errors}, error.status, API_VERSION)

    return endpoint


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "Internal Server Error"
    return answer({"errors": [error_object("BadRequest", "Bad Request", detail)]}, status, API_VERSION)
