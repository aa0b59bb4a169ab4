"""The client, the transform and the small robot, held to what a real robot-server answered.

The recordings are data beside the repository, not in it; without them this module has nothing to say. What is
always checked, on generated runs: the small robot's edges in `test_robot_edges.py`, the client in
`test_opentrons.py`, the transform in `test_robot_experiments.py`, notices in `test_robot_notices.py`.
"""

import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeGuard
from uuid import UUID, uuid4

import httpx
import polars as pl
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.http import HttpClient
from infra.simulators import robot_http
from infra.simulators.robot import Robot, serve_robot
from infra.simulators.robot_http import robot_app
from infra.simulators.robot_protocols import Protocol, Step
from infra.simulators.robot_runs import Run
from lineage.errors import RejectedError, UnavailableError
from tasks.batch import MESSAGE_SCHEMA, RawBatch, Reference
from tasks.extract.opentrons import RobotSource, fetch_run, list_runs, robot_client
from tasks.extract.robot_notices import runs_to_fetch
from tasks.transform.experiments import refine
from tests.fixtures.catalogs import contract as contract_of

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("HEADWATER_SHARED_DATA", ROOT.parent / "shared" / "data"))
RECORDINGS = SHARED / "ot2" / "robot-server"
SOURCE = RobotSource(name="real", dataset="opentrons://real/runs", page_length=20)
UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Recording = dict[str, Any]

if not RECORDINGS.is_dir():
    pytest.skip("recordings not beside the repository", allow_module_level=True)


def load() -> dict[int, Recording]:
    """Every recorded request by its number."""
    found = {}
    for path in sorted(RECORDINGS.glob("[0-9]*.json")):
        recording = json.loads(path.read_text(encoding="utf-8"))
        if "request" in recording:
            found[int(path.name[:3])] = recording | {"name": path.stem}
    return found


RECORDED = load()
FULL_PAGES = range(63, 70)  # all 139 commands of the serial dilution, by 20


def path_of(recording: Recording) -> str:
    return str(recording["request"]["path"])


def answered(method: str, pattern: str, *statuses: int) -> list[Recording]:
    return [
        recording
        for recording in RECORDED.values()
        if recording["request"]["method"] == method
        and re.fullmatch(pattern, path_of(recording))
        and recording["status"] in (statuses or (200,))
    ]


# --- the client and the transform ---------------------------------------------------------------------------


def refined(recordings: list[Recording]) -> Any:
    tables = ("experiments", "experiment_steps")
    contracts = {name: contract_of(name) for name in tables}
    rows = [(path_of(recording), json.dumps(recording["body"]).encode()) for recording in recordings]
    created = [
        datetime.fromisoformat(recording["body"]["data"]["createdAt"])
        for recording in recordings
        if isinstance(recording["body"]["data"], dict)
    ]
    batch = RawBatch(
        dataset=SOURCE.dataset,
        messages=pl.DataFrame(rows, schema=MESSAGE_SCHEMA, orient="row"),
        received_at=max(created).astimezone(UTC),
        received_until=max(created).astimezone(UTC),
    )
    return refine(batch, Reference(frames={}), contracts, "opentrons")


RUN_ANSWERS = answered("GET", r"/runs/[0-9a-f-]{36}")
PAGES = answered("GET", r"/runs/[0-9a-f-]{36}/commands(\?.*)?")


@pytest.mark.parametrize("recording", RUN_ANSWERS, ids=lambda recording: recording["name"])
def test_every_recorded_run_with_its_pages_is_refined_without_a_rejection(recording: Recording) -> None:
    run = recording["body"]["data"]
    pages = [page for page in PAGES if page["request"]["path"].startswith(f"/runs/{run['id']}/")]
    result = refined([recording, *pages])
    assert result.rejected.is_empty()
    (row,) = result.accepted["experiments"].to_dicts()
    assert (row["experiment_id"], row["status"], row["ok"], row["current"]) == (
        run["id"],
        run["status"],
        run["ok"],
        run["current"],
    )
    assert row["error_count"] == len(run["errors"])
    seen = [command for page in pages for command in page["body"]["data"]]
    assert result.read == len(seen) + 1
    assert set(result.accepted["experiment_steps"]["step_id"]) == {command["id"] for command in seen}


def test_every_recorded_page_belongs_to_a_recorded_run() -> None:
    known = {recording["body"]["data"]["id"] for recording in RUN_ANSWERS}
    orphans = [page["name"] for page in PAGES if path_of(page).split("/")[2] not in known]
    assert orphans == []
    assert len(PAGES) > 60


def test_the_recorded_serial_dilution_has_its_volumes() -> None:
    steps = refined([RECORDED[58], *(RECORDED[number] for number in FULL_PAGES)]).accepted["experiment_steps"]
    assert steps["step_index"].sort().to_list() == list(range(139))
    by_kind = steps.group_by("command_type").agg(pl.len(), pl.col("volume_ul").sum())
    sums = {kind: (count, volume) for kind, count, volume in by_kind.iter_rows()}
    # 11 fills and 11 dilutions of 100 µL, each dilution mixed three times with 50 µL.
    assert sums["aspirate"] == sums["dispense"] == (22 + 33, 22 * 100 + 33 * 50)
    assert sums["loadLabware"][0] == 3
    liquid = steps.filter(pl.col("volume_ul").is_not_null())
    assert set(liquid["labware_load_name"]) == {"nest_12_reservoir_15ml", "nest_96_wellplate_200ul_flat"}
    assert set(liquid["pipette_name"]) == {"p300_single_gen2"}
    assert steps["duration_s"].min() > 0


def test_a_run_that_is_history_has_the_same_steps_as_when_it_was_current() -> None:
    """The server writes 0 for a current run and 0.0 for a past one; that is no news."""
    current, past = refined([RECORDED[58], RECORDED[71]]), refined([RECORDED[58], RECORDED[119]])
    assert json.dumps(RECORDED[71]["body"]["data"]) != json.dumps(RECORDED[119]["body"]["data"])
    hashes = [result.accepted["experiment_steps"]["input_hash"].to_list() for result in (current, past)]
    assert hashes[0] == hashes[1]


@asynccontextmanager
async def replaying(answers: dict[str, Recording]) -> AsyncIterator[HttpClient]:
    """A server that answers each address as it was recorded."""

    async def replay(request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        recording = answers[request.url.path + query]
        return Response(json.dumps(recording["body"]), recording["status"], recording["headers"])

    app = Starlette(routes=[Route("/{path:path}", replay)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robot_http, "robot_app", lambda _: app)
        async with serve_robot(Robot()) as url, robot_client(SOURCE, url) as client:
            yield client


async def test_the_client_fetches_the_recorded_run() -> None:
    numbers = (31, 58, *FULL_PAGES)
    run_id = UUID(RECORDED[58]["body"]["data"]["id"])
    async with replaying({path_of(RECORDED[number]): RECORDED[number] for number in numbers}) as client:
        batch = await fetch_run(client, SOURCE, run_id, datetime.now(UTC))
    assert batch is not None
    assert batch.position is not None
    assert batch.messages.height == len(numbers)
    assert batch.position.detail["commands"] == 139
    assert batch.position.detail["last_completed_at"] == RECORDED[58]["body"]["data"]["completedAt"]
    experiment = refined([RECORDED[number] for number in numbers]).accepted["experiments"]
    assert experiment["protocol_name"].to_list() == ["Serial dilution"]


LISTS = answered("GET", r"/runs(\?.*)?")


@pytest.mark.parametrize("recording", LISTS, ids=lambda recording: recording["name"])
async def test_the_client_understands_every_recorded_list(recording: Recording) -> None:
    async with replaying({"/runs": recording}) as client:
        listed = await list_runs(client, SOURCE)
    assert [str(run_id) for run_id in listed] == [run["id"] for run in recording["body"]["data"]]


REFUSALS = [recording for recording in RECORDED.values() if recording["status"] >= 300 and recording["body"]]


@pytest.mark.parametrize("recording", REFUSALS, ids=lambda recording: recording["name"])
async def test_the_client_reports_every_recorded_refusal(recording: Recording) -> None:
    async with replaying({"/runs": recording, "/runs/x": recording}) as client:
        if recording["status"] >= 500:
            with pytest.raises(UnavailableError, match=str(recording["status"])):
                await list_runs(client, SOURCE)
            return
        with pytest.raises(RejectedError, match=f"answered {recording['status']}") as refused:
            await list_runs(client, SOURCE)
    for error in recording["body"].get("errors", []):
        assert error["detail"] in str(refused.value)
    assert recording["body"].get("message", "") in str(refused.value)


def test_every_recorded_notice_is_understood() -> None:
    kinds: Counter[str] = Counter()
    for line in (RECORDINGS / "mqtt.jsonl").read_text(encoding="utf-8").splitlines():
        notice = json.loads(line)
        topic, payload = notice["topic"], notice["payload"].encode()
        assert (notice["qos"], notice["retain"]) == (1, False)
        wanted = runs_to_fetch(topic, payload)
        run_id = topic.rpartition("/")[2]
        if payload == b'{"unsubscribe": true}' or topic.startswith("robot-server/maintenance_runs"):
            assert wanted is None
        elif UUID_TEXT.fullmatch(run_id):
            assert wanted == UUID(run_id)
        elif run_id == "no-such-run":
            assert wanted is None
        else:
            assert topic in ("robot-server/runs", "robot-server/runs/commands_links")
            assert wanted == "all"
        kinds[str(type(wanted))] += 1
    assert len(kinds) == 3
    assert kinds.total() > 1500


# --- the small robot ----------------------------------------------------------------------------------------

# Which state each recorded request found the real robot in. What is missing here is in NOT_PLAYED.
STATES: dict[str, set[int]] = {
    "empty": {*range(1, 26), 26, 27, 41, 42, 43, 149, 156, 157, 158, 159, 167, 225, 262, 264, 265, 266},
    "idle": {
        *(29, 31, 40, 44, 45, 46, 47, 49, 50, 51, 52, 53, 54, 55, 106, 111, 160, 183, 185, 212, 226, 230),
        *(236, 240, 246, 259, 260, 261, 263, 268, 269, 270),
    },
    "done": {*range(58, 98), 99, 100, 101, 102, 103, 108, 154, 174, 176, 179, 211, 245, 258},
    "history": {109, 110, 118, 119, 120, *range(121, 138), *range(139, 145), 146, 147, 148, 155},
    "nothing current": {152, 153, 166, 182, 184},
    "failed": {114, 115, 116, 117, 150, 151},
    "stopped before play": {162, 163, 164, 165},
    "lost": {177, 178, 180, 181, 241, 242, 243, 244},
    "running": {*range(186, 194), 195, 196, 197, 198, 199, 200, 202, 208, 213, 227, 237, 238},
    "paused": {203, 204, 205, 206, 207, 228, 231, 233},
    "stopping": {214, 215},
    "stopped": {218, 219, 220, 221, 222, 223, 224},
    "failed in a command": {249, 250, 251, 252, 253},
}
NOT_PLAYED = {
    "uploads and analyses are not the small robot's": {28, 30, *range(32, 40), 104, 105, 107, 267},
    "it has no nozzle layouts": {48, 98, 145, 194, 254},
    "it takes no setup commands": {168, 169, 170, 171, 172, 173, 201},
    "the real one hands the number to SQLite and crashes": {138},
    "it has no waitForResume": {232},
}


def played_steps() -> list[Step]:
    """The recorded serial dilution as steps of ours, so that totals and cursors can be compared."""
    labware = {thing["id"]: thing["loadName"] for thing in RECORDED[58]["body"]["data"]["labware"]}
    labware["fixedTrash"] = "fixedTrash"
    steps = []
    for number in FULL_PAGES:
        for command in RECORDED[number]["body"]["data"]:
            params = dict(command["params"])
            on = labware.get(params.pop("labwareId", ""))
            steps.append(
                Step(
                    command_type=command["commandType"],
                    labware=on or params.get("loadName"),
                    pipette=params.pop("pipetteId", None) is not None,
                    params=params,
                )
            )
    return steps


async def robot_in(state: str) -> tuple[Robot, Run | None]:
    """A small robot in one of the STATES, and the run that was asked about."""
    if state == "empty":
        return Robot(), None
    steps = tuple(played_steps())
    home = Step(command_type="home", params={})
    protocol = Protocol(name="Serial dilution", steps=steps)
    if state == "failed":
        protocol = Protocol(name="x", steps=(home,) * 400, fails_at=387, fails_in="python")
    if state == "failed in a command":
        protocol = Protocol(name="x", steps=steps[:5], fails_at=4)
    robot = Robot(protocols=[protocol], seconds=0)
    await robot.start()
    if state in ("idle", "stopped before play", "lost"):
        run = robot.create_run(protocol)
        if state == "stopped before play":
            robot.act(run, "stop")
            await robot.ended(run)
        if state == "lost":
            await robot.restart()
        return robot, run
    run = await robot.play(protocol)
    if state == "history":
        robot.create_run(protocol)
    elif state == "nothing current":
        robot.release(run)
    elif state in ("running", "paused", "stopping", "stopped"):
        cut_short(run, state)
    return robot, run


def cut_short(run: Run, state: str) -> None:
    """Back to the moment at which the real run was asked about: at its 14th command."""
    run.completed_at = "2026-03-01T08:00:00.000000+00:00" if state == "stopped" else None
    run.status = "stop-requested" if state == "stopping" else state
    del run.commands[15 if state == "paused" else 14 :]
    last = run.commands[-1]
    del last["result"]
    if state == "stopped":
        last |= {"status": "failed", "error": {"errorType": "RunStoppedError", "errorCode": "4000"}}
        details = {"isDefined": False, "detail": "Run was cancelled", "errorInfo": {}, "wrappedErrors": []}
        last["error"] |= details | {"id": str(uuid4()), "createdAt": "2026-03-01T08:00:00.000000+00:00"}
        return
    del last["completedAt"], last["notes"]
    last["status"] = "queued" if state == "paused" else "running"
    if state == "paused":
        del last["startedAt"]


def ours(recording: Recording, robot: Robot, run: Run | None) -> tuple[str, Any]:
    """The recorded request with our ids for theirs."""
    path, body = path_of(recording), recording["request"].get("body")
    gone = recording["status"] == 404 and not path.endswith("/commands/no-such")
    if run is not None and not gone:
        path = re.sub(rf"/runs/{UUID_TEXT.pattern}", f"/runs/{run.id}", path)
    if run is not None and re.search(rf"/commands/{UUID_TEXT.pattern}$", path) and recording["status"] == 200:
        wanted = recording["body"]["data"]
        same = [c for c in run.commands if c["commandType"] == wanted["commandType"]]
        command = next(c for c in same if c["status"] in (wanted["status"], "running"))
        path = re.sub(rf"{UUID_TEXT.pattern}$", command["id"], path)
    if robot.protocols:
        protocol_id = next(iter(robot.protocols))
        path = re.sub(rf"/protocols/{UUID_TEXT.pattern}", f"/protocols/{protocol_id}", path)
        if body and UUID_TEXT.fullmatch(str(body.get("data", {}).get("protocolId"))):
            body = {"data": {"protocolId": protocol_id}}
    return path, body


PLAYED = [(state, number) for state, numbers in STATES.items() for number in sorted(numbers)]


def test_every_recorded_request_is_played_or_its_omission_has_a_reason() -> None:
    placed = [number for _, number in PLAYED] + [n for numbers in NOT_PLAYED.values() for n in numbers]
    assert sorted(placed) == sorted(RECORDED)


@pytest.mark.parametrize(("state", "number"), PLAYED)
async def test_the_small_robot_answers_as_the_real_one(state: str, number: int) -> None:
    recording = RECORDED[number]
    robot, run = await robot_in(state)
    await robot.start()
    path, body = ours(recording, robot, run)
    content = recording["request"].get("body_raw") or (None if body is None else json.dumps(body))
    transport = httpx.ASGITransport(app=robot_app(robot))
    async with httpx.AsyncClient(transport=transport, base_url="http://robot") as client:
        answer = await client.request(
            recording["request"]["method"], path, headers=recording["request"]["headers"], content=content
        )
    await robot.stop()
    assert answer.status_code == recording["status"]
    for header in ("content-type", "opentrons-version"):
        assert answer.headers.get(header) == recording["headers"].get(header)
    if recording["body"] == "":
        assert answer.content == b""
    else:
        compare(answer.json(), recording["body"], trimmed=bool(recording.get("trimmed")))


def compare(got: dict[str, Any], real: dict[str, Any], *, trimmed: bool) -> None:
    """The same shape, the same paging, and of an error the same words."""
    assert set(got) == set(real)
    if "errors" in real:
        for mine, theirs in zip(got["errors"], real["errors"], strict=True):
            assert set(mine) == set(theirs)
            same = ("id", "title", "errorCode", "source")
            assert {key: mine.get(key) for key in same} == {key: theirs.get(key) for key in same}
            if "robot_server." not in theirs["detail"]:
                assert without_ids(mine["detail"]) == without_ids(theirs["detail"])
        return
    data = real.get("data")
    if is_commands(data):
        assert got["meta"] == real["meta"]
        assert got["links"].keys() == real["links"].keys()
        if "current" in real["links"]:
            assert shape(got["links"]) == shape(real["links"])
            assert got["links"]["current"]["meta"]["index"] == real["links"]["current"]["meta"]["index"]
        if not trimmed:
            assert len(got["data"]) == len(data)
        for mine, theirs in zip(got["data"], data, strict=False):
            same_shape(without(mine, theirs), without(theirs, mine))
        return
    if data is not None and "links" in real:
        assert set(got["links"]) == set(real["links"])
    same_shape(got, real)


def is_commands(data: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(data, list) and bool(data) and isinstance(data[0], dict) and "commandType" in data[0]


def without(command: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Parameters compare only between commands of one kind; intents and errors are told by other tests."""
    left_out = () if command["commandType"] == other["commandType"] else ("params",)
    return {key: value for key, value in command.items() if key not in left_out}


def without_ids(text: str) -> str:
    return UUID_TEXT.sub("ID", text)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return ["…"]
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


# What is about the real robot's hardware, or differs from one run, error, protocol or analysis to the next.
FREE = {
    "errorInfo",
    "wrappedErrors",
    "wrapping",
    "position",
    "links",
    "actions",
    "analysisSummaries",
    "metadata",
}


def same_shape(got: Any, real: Any, where: str = "") -> None:
    """The same keys and types all the way down; lists by their last items, where both have one."""
    if isinstance(real, dict) and isinstance(got, dict):
        assert set(got) == set(real), where
        for key in real:
            if key not in FREE:
                same_shape(got[key], real[key], f"{where}.{key}")
    elif isinstance(real, list) and isinstance(got, list):
        for mine, theirs in zip(got[-1:], real[-1:], strict=False):
            same_shape(mine, theirs, f"{where}[]")
    else:
        assert shape(got) == shape(real), where
