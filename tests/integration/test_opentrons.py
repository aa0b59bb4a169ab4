"""The robot client against the small robot over real HTTP, and against servers that misbehave."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.http import HttpClient
from infra.simulators import robot_http
from infra.simulators.robot import Robot, failing, serial_dilution, serve_robot
from infra.simulators.robot_runs import Run
from lineage.errors import RejectedError, SettingsError, UnavailableError
from tasks.batch import RawBatch, Reference, Refined
from tasks.extract.opentrons import (
    RobotOptions,
    RobotSource,
    fetch_run,
    list_runs,
    look,
    notice_key,
    robot_client,
)
from tasks.transform.experiments import refine
from tests.fixtures.catalogs import contract as contract_of
from tests.fixtures.waiting import until

ROOT = Path(__file__).parents[2]
SOURCE = RobotSource(name="bench", dataset="opentrons://bench/runs", page_length=7)


def refined(batch: RawBatch) -> Refined:
    tables = ("experiments", "experiment_steps")
    contracts = {name: contract_of(name) for name in tables}
    return refine(batch, Reference(frames={}), contracts, "opentrons")


@asynccontextmanager
async def connected(robot: Robot, source: RobotSource = SOURCE) -> AsyncIterator[HttpClient]:
    async with serve_robot(robot) as url, robot_client(source, url) as client:
        await robot.up()
        yield client


def begin(robot: Robot, seed: int = 1) -> Run:
    """Play a run in the background."""
    run = robot.create_run(robot.add_protocol(serial_dilution(seed)))
    robot.act(run, "play")
    return run


async def fetched(client: HttpClient, run: Run, source: RobotSource = SOURCE) -> RawBatch:
    batch = await fetch_run(client, source, UUID(run.id), datetime.now(UTC))
    assert batch is not None
    return batch


async def test_a_finished_run_is_fetched_whole_with_its_exact_bytes() -> None:
    robot = Robot(seconds=0)
    async with serve_robot(robot) as url, robot_client(SOURCE, url) as client:
        await robot.up()
        run = await robot.play(serial_dilution(4))
        batch = await fetched(client, run)
        locations = batch.messages["location"].to_list()
        async with httpx.AsyncClient(base_url=url, headers={"Opentrons-Version": "*"}) as plain:
            bodies = [(await plain.get(location)).content for location in locations]
    assert batch.messages["payload"].to_list() == bodies
    assert locations[0] == f"/runs/{run.id}"
    assert locations[1] == f"/protocols/{serial_dilution(4).id}"
    assert locations[2:4] == [f"/runs/{run.id}/commands?cursor={at}&pageLength=7" for at in (0, 7)]
    result = refined(batch)
    assert result.rejected.is_empty()
    assert result.duplicates == 0
    steps = result.accepted["experiment_steps"].sort("step_index")
    assert steps["step_id"].to_list() == [command["id"] for command in run.commands]
    (experiment,) = result.accepted["experiments"].to_dicts()
    assert (experiment["robot"], experiment["protocol_name"]) == ("bench", "Serial dilution")


async def test_an_unchanged_run_has_the_same_position_whoever_else_uses_its_protocol() -> None:
    robot = Robot(seconds=0)
    async with connected(robot) as client:
        run = await robot.play(serial_dilution(1))
        first, again = [(await fetched(client, run)).position for _ in range(2)]
        key = notice_key(await look(client, SOURCE, UUID(run.id)))  # type: ignore[arg-type]
        assert first == again
        other = RobotSource(name="bench", dataset=SOURCE.dataset, page_length=50)
        assert (await fetched(client, run, other)).position == first
        robot.create_run(robot.protocols[serial_dilution(1).id])
        later = (await fetched(client, run)).position
        assert notice_key(await look(client, SOURCE, UUID(run.id))) == f"{key}:past"  # type: ignore[arg-type]
    assert first is not None
    assert later is not None
    assert first.source == SOURCE.dataset
    assert {name: first.detail[name] for name in ("run_id", "status", "commands", "last_completed_at")} == {
        "run_id": run.id,
        "status": "succeeded",
        "commands": len(run.commands),
        "last_completed_at": run.completed_at,
    }
    # The run itself changed: it is current no longer.
    assert later.detail["content_sha256"] != first.detail["content_sha256"]


async def test_a_run_that_goes_on_while_it_is_paged_is_fetched_to_its_growing_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between any two pages the run gets at least one more command, until it ends."""
    robot = Robot(seconds=0.002)
    source = RobotSource(name="bench", dataset=SOURCE.dataset, page_length=3)
    list_commands = robot_http.RobotApi.list_commands

    async def after_one_more(self: robot_http.RobotApi, request: Request) -> Response:
        response = await list_commands(self, request)
        run, seen = robot.runs[request.path_params["id"]], len(robot.runs[request.path_params["id"]].commands)
        await until(lambda: run.ended or len(run.commands) > seen)
        return response

    monkeypatch.setattr(robot_http.RobotApi, "list_commands", after_one_more)
    async with connected(robot, source) as client:
        run = begin(robot)
        await until(lambda: len(run.commands) > 1)
        batch = await fetched(client, run, source)
        await robot.ended(run)
        after = await fetched(client, run, source)
    pages = [json.loads(body) for at, body in batch.messages.iter_rows() if "commands" in at]
    totals = [page["meta"]["totalLength"] for page in pages]
    assert totals[-1] > totals[0]
    assert totals == sorted(totals)
    early, late = refined(batch), refined(after)
    assert early.rejected.is_empty()
    assert early.accepted["experiments"]["status"].to_list() == ["running"]
    assert late.accepted["experiments"]["status"].to_list() == ["succeeded"]
    ids = early.accepted["experiment_steps"].sort("step_index")["step_id"].to_list()
    assert len(ids) >= totals[-1]
    assert ids == [command["id"] for command in run.commands][: len(ids)]


async def test_a_cursor_that_was_clamped_repeats_the_last_command_once_and_ends() -> None:
    """The list shrinks between two pages, as after a restart: the server repeats its last command."""
    commands = [{"id": f"c{index}", "commandType": "home", "status": "succeeded"} for index in range(6)]
    run_id = str(uuid4())
    run = {"id": run_id, "createdAt": "2026-03-01T08:00:00+00:00", "status": "running"}
    asked: list[int] = []

    async def page(request: Request) -> Response:
        asked.append(int(request.query_params["cursor"]))
        last = asked[-1] > 0
        data, cursor = (commands[2:3], 2) if last else (commands[:3], 0)
        return JSONResponse({"data": data, "meta": {"cursor": cursor, "totalLength": 6}})

    async with misbehaving({f"/runs/{run_id}": {"data": run}}, {f"/runs/{run_id}/commands": page}) as client:
        batch = await fetch_run(client, SOURCE, UUID(run_id), datetime.now(UTC))
    assert batch is not None
    assert asked == [0, 3]
    result = refined(batch)
    assert (result.read, result.duplicates) == (5, 1)
    assert result.rejected.is_empty()


async def test_a_run_the_robot_does_not_know_is_none() -> None:
    async with connected(Robot()) as client:
        assert await fetch_run(client, SOURCE, uuid4(), datetime.now(UTC)) is None
        assert await look(client, SOURCE, uuid4()) is None
        assert await list_runs(client, SOURCE) == {}


async def test_a_run_that_vanishes_between_two_pages_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = Robot(seconds=0)
    list_commands = robot_http.RobotApi.list_commands

    async def forget_after_first(self: robot_http.RobotApi, request: Request) -> Response:
        response = await list_commands(self, request)
        robot.delete_run(request.path_params["id"])
        return response

    monkeypatch.setattr(robot_http.RobotApi, "list_commands", forget_after_first)
    async with connected(robot) as client:
        run = await robot.play(serial_dilution(1))
        assert await fetch_run(client, SOURCE, UUID(run.id), datetime.now(UTC)) is None


async def test_the_robot_keeps_twenty_runs() -> None:
    robot = Robot(seconds=0)
    async with connected(robot) as client:
        runs = [robot.create_run(None) for _ in range(23)]
        listed = await list_runs(client, SOURCE)
        assert listed == {UUID(run.id): run is runs[-1] for run in runs[3:]}
        assert await fetch_run(client, SOURCE, UUID(runs[0].id), datetime.now(UTC)) is None
        without_protocol = refined(await fetched(client, runs[-1]))
    (row,) = without_protocol.accepted["experiments"].to_dicts()
    assert (row["status"], row["protocol_id"], row["commands"]) == ("idle", None, 0)


async def test_a_restart_in_mid_run_shows_it_stopped_not_ok_and_without_commands() -> None:
    robot = Robot(seconds=0.01)
    async with connected(robot) as client:
        run = begin(robot)
        await until(lambda: len(run.commands) > 3)
        before = await look(client, SOURCE, UUID(run.id))
        await robot.restart()
        after = await look(client, SOURCE, UUID(run.id))
        batch = await fetched(client, run)
        listed = await list_runs(client, SOURCE)
    assert before is not None
    assert after is not None
    assert notice_key(before) != notice_key(after)
    assert (after.status, after.commands, after.ended) == ("stopped", 0, True)
    assert listed == {UUID(run.id): False}
    result = refined(batch)
    (row,) = result.accepted["experiments"].to_dicts()
    assert (row["ok"], row["status"], row["commands"], row["completed_at"]) == (False, "stopped", 0, None)
    assert row["error_type"] == "RunDataError"
    assert result.rejected.is_empty()


async def test_a_robot_that_is_starting_or_away_is_unavailable() -> None:
    robot = Robot(start_seconds=0.3)
    async with serve_robot(robot) as url, robot_client(SOURCE, url) as client:
        with pytest.raises(UnavailableError, match="robot bench is unavailable: it answered 503"):
            await list_runs(client, SOURCE)
        await robot.up()
        assert await list_runs(client, SOURCE) == {}
    async with robot_client(SOURCE, url) as client:
        with pytest.raises(UnavailableError, match="robot bench"):
            await fetch_run(client, SOURCE, uuid4(), datetime.now(UTC))


async def test_a_robot_is_waited_for_as_long_as_its_pipeline_says(tmp_path: Path) -> None:
    serving = set[asyncio.Task[None] | None]()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError):
            await reader.read()  # to the client's end
            writer.close()
            await writer.wait_closed()

    options = RobotOptions(patience=timedelta(seconds=0.2))
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        source = options.robot("mute")
        async with robot_client(source, f"http://127.0.0.1:{port}") as client, asyncio.timeout(5):
            with pytest.raises(UnavailableError, match="robot mute"):
                await fetch_run(client, source, uuid4(), datetime.now(UTC))
        await asyncio.gather(*filter(None, serving))


async def test_a_refusal_carries_the_robots_own_words() -> None:
    robot = Robot()
    async with serve_robot(robot) as url:
        await robot.up()
        old = RobotSource(name="bench", dataset=SOURCE.dataset)
        object.__setattr__(old, "version", "1")  # what RobotSource itself would not take
        async with robot_client(old, url) as client:
            with pytest.raises(RejectedError, match="answered 400 to /runs: The requested API version '1'"):
                await list_runs(client, old)
    with pytest.raises(SettingsError, match="http://"):
        async with robot_client(SOURCE, "ot2:31950"):
            pass


@pytest.mark.parametrize("status", ["succeeded", "stopped"])
async def test_pause_resume_and_stop(status: str) -> None:
    robot = Robot(seconds=0.005)
    async with connected(robot) as client:
        run = begin(robot)
        await until(lambda: len(run.commands) > 4)
        robot.act(run, "pause")
        await until(lambda: run.commands[-1]["status"] == "queued")
        paused = refined(await fetched(client, run))
        assert paused.accepted["experiments"]["status"].to_list() == ["paused"]
        assert paused.accepted["experiment_steps"].sort("step_index")["status"].to_list()[-1] == "queued"
        robot.act(run, "play")
        if status == "stopped":
            await until(lambda: run.running_index() is not None)
            robot.act(run, "stop")
            assert run.status == "stop-requested"
        await robot.ended(run)
        result = refined(await fetched(client, run))
    assert result.accepted["experiments"]["status"].to_list() == [status]
    errors = result.accepted["experiment_steps"]["error_message"].drop_nulls().to_list()
    assert errors == (["Run was cancelled"] if status == "stopped" else [])


async def test_answers_that_are_not_json_are_kept_and_rejected_not_raised() -> None:
    run_id = str(uuid4())
    paths: dict[str, Any] = {
        f"/runs/{run_id}": b"<html>",
        f"/runs/{run_id}/commands": b"\xff",
        "/runs": b"{}",
    }
    async with misbehaving(paths, {}) as client:
        batch = await fetch_run(client, SOURCE, UUID(run_id), datetime.now(UTC))
        with pytest.raises(RejectedError, match="no list of its runs"):
            await list_runs(client, SOURCE)
    assert batch is not None
    assert batch.messages["payload"].to_list() == [b"<html>", b"\xff"]
    assert refined(batch).rejected["rules"].to_list() == [["page.json"], ["page.json"]]


async def test_a_position_never_holds_what_jsonb_cannot() -> None:
    run_id = str(uuid4())
    run = {"id": run_id, "status": "run\x00ning", "completedAt": "\ud800", "protocolId": None}
    paths = {f"/runs/{run_id}": {"data": run}, f"/runs/{run_id}/commands": {"data": []}}
    async with misbehaving(paths, {}) as client:
        batch = await fetch_run(client, SOURCE, UUID(run_id), datetime.now(UTC))
    assert batch is not None
    assert batch.position is not None
    assert (batch.position.detail["status"], batch.position.detail["last_completed_at"]) == (
        "unreadable",
        None,
    )
    assert "payload.json" in refined(batch).rejected["rules"].to_list()[0]


async def test_a_run_without_end_is_refused_rather_than_held_in_memory() -> None:
    run_id = str(uuid4())

    async def endless(request: Request) -> Response:
        cursor = int(request.query_params["cursor"])
        data = [{"id": f"c{cursor + index}"} for index in range(7)]
        return JSONResponse({"data": data, "meta": {"cursor": cursor, "totalLength": cursor + 1000}})

    source = RobotSource(name="bench", dataset=SOURCE.dataset, max_commands=50)
    async with misbehaving(
        {f"/runs/{run_id}": {"data": {}}}, {f"/runs/{run_id}/commands": endless}
    ) as client:
        with pytest.raises(RejectedError, match="more than 50 commands"):
            await fetch_run(client, source, UUID(run_id), datetime.now(UTC))


async def statuses(client: HttpClient, runs: Sequence[UUID]) -> list[str]:
    return [seen.status for run_id in runs if (seen := await look(client, SOURCE, run_id))]


async def test_the_robot_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "infra.simulators.robot", "--seed", "5", "--seconds", "0", "--play", "2"]
    with subprocess.Popen(  # noqa: ASYNC220  (its first line is all that is waited for)
        command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        try:
            assert process.stdout is not None
            url = (await asyncio.to_thread(process.stdout.readline)).decode().strip()
            async with robot_client(SOURCE, url) as client, asyncio.timeout(60):
                runs = await list_runs(client, SOURCE)
                while await statuses(client, runs) != ["succeeded", "failed"]:
                    await asyncio.sleep(0.1)
                    runs = await list_runs(client, SOURCE)
                batch = await fetch_run(client, SOURCE, next(iter(runs)), datetime.now(UTC))
        finally:
            process.terminate()
    assert batch is not None
    steps = refined(batch).accepted["experiment_steps"]
    kinds = steps.sort("step_index")["command_type"].to_list()
    assert kinds == [step.command_type for step in serial_dilution(5).steps]
    assert failing(5).fails_at is not None


@asynccontextmanager
async def misbehaving(bodies: dict[str, Any], handlers: dict[str, Any]) -> AsyncIterator[HttpClient]:
    """A robot with these answers, whatever is asked."""

    def constant(body: Any) -> Callable[[Request], Any]:
        async def endpoint(_: Request) -> Response:
            return Response(body if isinstance(body, bytes) else json.dumps(body))

        return endpoint

    all_handlers = {path: constant(body) for path, body in bodies.items()} | handlers
    app = Starlette(routes=[Route(path, handler) for path, handler in all_handlers.items()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robot_http, "robot_app", lambda _: app)
        async with connected(Robot()) as client:
            yield client
