"""How a robot answers at its edges, asked of the small robot: versions, refusals, cursors, states of a run.

What is expected here was observed on a real robot-server; `test_robot_recordings.py` compares the answers
with its recordings, key by key, where those are at hand.
"""

import json
from typing import Any

import httpx
import pytest

from infra.simulators.robot import Robot, failing, serial_dilution
from infra.simulators.robot_http import robot_app
from infra.simulators.robot_runs import Run

ANY = {"Opentrons-Version": "*"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def ask(
    robot: Robot, method: str, path: str, body: Any = None, headers: dict[str, str] = ANY
) -> tuple[int, Any]:
    """Status and JSON (None: an empty body) of one request."""
    transport = httpx.ASGITransport(app=robot_app(robot))
    content = None if body is None else json.dumps(body)
    async with httpx.AsyncClient(transport=transport, base_url="http://robot") as client:
        answer = await client.request(method, path, headers=headers, content=content)
    return answer.status_code, answer.json() if answer.content else None


async def a_robot_and_run(state: str) -> tuple[Robot, Run]:
    robot = Robot(seconds=0)
    await robot.start()
    if state == "done":
        return robot, await robot.play(serial_dilution(1))
    if state == "failed":
        return robot, await robot.play(failing(2))
    run = robot.create_run(robot.add_protocol(serial_dilution(1)))
    if state == "stopped":
        robot.act(run, "stop")
        await robot.ended(run)
    elif state == "lost":
        await robot.restart()
    return robot, run


@pytest.mark.parametrize(
    ("version", "health", "runs"),
    [
        ("*", 200, 200),
        ("2", 200, 200),
        ("99", 200, 200),
        ("1", 400, 400),
        ("-1", 400, 400),
        ("abc", 422, 422),
        ("4.0", 422, 422),
        ("", 422, 422),
        (None, 422, 422),
    ],
)
async def test_versions(version: str | None, health: int, runs: int) -> None:
    robot, _ = await a_robot_and_run("idle")
    headers = {} if version is None else {"Opentrons-Version": version}
    answers = [await ask(robot, "GET", path, headers=headers) for path in ("/health", "/runs")]
    assert [status for status, _ in answers] == [health, runs]
    if runs == 400:
        assert answers[1][1]["errors"][0]["id"] == "OutdatedAPIVersion"
    await robot.stop()


@pytest.mark.parametrize(
    ("state", "method", "path", "body", "status", "error"),
    [
        ("idle", "GET", "/nope", None, 404, "BadRequest"),
        ("idle", "PUT", "/runs", {}, 405, "BadRequest"),
        ("idle", "GET", f"/runs/{UNKNOWN}", None, 404, "RunNotFound"),
        ("idle", "GET", f"/runs/{UNKNOWN}/commands", None, 404, "RunNotFound"),
        ("idle", "DELETE", f"/runs/{UNKNOWN}", None, 404, "RunNotFound"),
        ("idle", "GET", "/protocols/no-such", None, 404, "ProtocolNotFound"),
        ("idle", "POST", "/runs", {"data": {"protocolId": "no-such"}}, 404, "ProtocolNotFound"),
        ("idle", "POST", "/runs/RUN/actions", {"data": {"actionType": "dance"}}, 422, "InvalidRequest"),
        ("idle", "POST", "/runs/RUN/actions", {"actionType": "play"}, 422, "InvalidRequest"),
        ("idle", "POST", "/runs/RUN/actions", {"data": {"actionType": "pause"}}, 409, "RunActionNotAllowed"),
        ("done", "POST", "/runs/RUN/actions", {"data": {"actionType": "play"}}, 409, "RunActionNotAllowed"),
        ("done", "GET", "/runs/RUN/commands?cursor=abc", None, 422, "InvalidRequest"),
        ("done", "GET", "/runs/RUN/commands?cursor=1.5", None, 422, "InvalidRequest"),
        ("done", "GET", "/runs/RUN/commands?cursor=", None, 422, "InvalidRequest"),
        ("done", "GET", "/runs/RUN/commands?pageLength=abc", None, 422, "InvalidRequest"),
        ("done", "GET", "/runs/RUN/commands/no-such", None, 500, "UnexpectedError"),
        ("lost", "GET", "/runs/RUN/commands/no-such", None, 404, "CommandNotFound"),
        ("lost", "POST", "/runs/RUN/actions", {"data": {"actionType": "play"}}, 409, "RunStopped"),
        ("lost", "PATCH", "/runs/RUN", {"data": {"current": False}}, 409, "RunStopped"),
    ],
)
async def test_refusals_name_their_reason(
    state: str, method: str, path: str, body: Any, status: int, error: str
) -> None:
    robot, run = await a_robot_and_run(state)
    answered, content = await ask(robot, method, path.replace("RUN", run.id), body)
    assert (answered, content["errors"][0]["id"]) == (status, error)
    await robot.stop()


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [
        ("cursor=0&pageLength=20", 0, 20),
        ("", -20, 20),  # without a cursor: the last page
        ("pageLength=5", -5, 5),
        ("cursor=-1000&pageLength=2", 0, 2),  # a cursor before the first is the first
        ("cursor=1000&pageLength=20", -1, 1),  # and one past the last is the last
        ("cursor=99999999999999999999", -1, 1),
        ("pageLength=100000", 0, None),
        ("pageLength=0", -1, 0),
        ("cursor=5&pageLength=0", 5, 0),
        ("cursor=0&pageLength=3&bogus=1", 0, 3),
    ],
)
async def test_cursors_are_clamped(query: str, first: int, count: int | None) -> None:
    robot, run = await a_robot_and_run("done")
    total = len(run.commands)
    assert total > 20
    status, page = await ask(robot, "GET", f"/runs/{run.id}/commands?{query}")
    begin = first if first >= 0 else total + first
    ids = [command["id"] for command in run.commands]
    assert (status, page["meta"]) == (200, {"cursor": begin, "totalLength": total})
    assert [each["id"] for each in page["data"]] == ids[begin : begin + (total if count is None else count)]
    await robot.stop()


@pytest.mark.parametrize(
    ("state", "status", "ok", "errors"),
    [
        ("idle", "idle", True, 0),
        ("done", "succeeded", True, 0),
        ("stopped", "stopped", True, 0),
        ("failed", "failed", True, 1),
        ("lost", "stopped", False, 0),
    ],
)
async def test_the_states_of_a_run(state: str, status: str, ok: bool, errors: int) -> None:
    robot, run = await a_robot_and_run(state)
    answered, content = await ask(robot, "GET", f"/runs/{run.id}")
    told = content["data"]
    assert answered == 200
    assert (told["status"], told["ok"], len(told["errors"])) == (status, ok, errors)
    assert ("dataError" in told) is (state == "lost")
    _, page = await ask(robot, "GET", f"/runs/{run.id}/commands")
    assert page["meta"]["totalLength"] == (0 if state == "lost" else len(run.commands))
    await robot.stop()
