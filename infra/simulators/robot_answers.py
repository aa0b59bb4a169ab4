"""What the real robot-server's answers look like: error bodies, header rules, and links."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.simulators.robot_runs import Run

API_VERSION, OLDEST_VERSION = 4, 2


class RefusedError(Exception):
    """An error answer."""

    def __init__(self, status: int, *errors: dict[str, Any]) -> None:
        super().__init__(status)
        self.status = status
        self.errors = list(errors)


def check_version(asked: str | None) -> None:
    """The header Opentrons-Version: `*` or a whole number from 2 up."""
    if asked == "*":
        return
    if asked is None:
        raise RefusedError(422, invalid_object("field required", header="opentrons-version"))
    try:
        version = int(asked)
    except ValueError:
        said = ("unexpected value; permitted: '*'", "value is not a valid integer")
        raise RefusedError(
            422, *(invalid_object(text, header="opentrons-version") for text in said)
        ) from None
    if version < OLDEST_VERSION:
        title = "Requested HTTP API version no longer supported"
        detail = (
            f"The requested API version '{version}' is not supported. 'Opentrons-Version' must be at least "
            f"'{OLDEST_VERSION}'. Please upgrade your Opentrons App or other HTTP API client."
        )
        raise RefusedError(400, error_object("OutdatedAPIVersion", title, detail))


def integer_parameter(request: Request, name: str) -> int | None:
    """A whole number of the query, null when it is not there."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise RefusedError(422, invalid_object("value is not a valid integer", parameter=name)) from None


async def json_body(request: Request) -> Any:
    """The request's JSON."""
    try:
        return json.loads(await request.body())
    except ValueError as error:
        raise RefusedError(422, invalid_object(str(error), pointer="/1")) from error


def data_of(body: Any) -> dict[str, Any]:
    """What stands in the envelope `{"data": …}`."""
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        raise RefusedError(422, invalid_object("field required", pointer="/data"))
    return data


def current_link(run: Run) -> dict[str, Any]:
    """The link to the running command, else to the last that was done."""
    index = run.current_index()
    if index is None:
        return {}
    command = run.commands[index]
    meta = {
        "runId": run.id,
        "commandId": command["id"],
        "index": index,
        "key": command["key"],
        "createdAt": command["createdAt"],
    }
    return {"current": {"href": f"/runs/{run.id}/commands/{command['id']}", "meta": meta}}


def answer(body: dict[str, Any], status: int = 200, version: int | None = None) -> Response:
    """Only errors and the oldest paths say which version they speak."""
    headers = {} if version is None else {"opentrons-version": str(version)}
    return JSONResponse(body, status, headers=headers)


def error_object(kind: str, title: str, detail: str, code: str = "4000") -> dict[str, Any]:
    return {"id": kind, "title": title, "detail": detail, "errorCode": code}


def invalid_object(detail: str, **source: str) -> dict[str, Any]:
    return {**error_object("InvalidRequest", "Invalid Request", detail), "source": source}


def meta_object(kind: str, message: str) -> dict[str, Any]:
    return {"type": kind, "code": "4000", "message": message, "detail": {}, "wrapping": []}


def no_run(run_id: str, sentence: str | None = None) -> RefusedError:
    said = sentence or "Error 4000 GENERAL_ERROR (RunNotFoundError): Run {} was not found."
    return RefusedError(404, error_object("RunNotFound", "Run Not Found", said.format(run_id)))


def no_protocol(protocol_id: str) -> RefusedError:
    detail = f"'Protocol {protocol_id} was not found.'"
    return RefusedError(404, error_object("ProtocolNotFound", "Protocol Not Found", detail))
