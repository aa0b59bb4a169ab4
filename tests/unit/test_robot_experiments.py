"""The transform of a robot's runs: golden values of our own generated runs, and bad input."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from infra.simulators.robot import Robot, failing, serial_dilution
from infra.simulators.robot_runs import Run
from tasks.batch import MESSAGE_SCHEMA, ORIGIN_SCHEMA, Position, RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.transform.experiments import refine
from tests.fixtures.catalogs import contract as contract_of

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TABLES = ("experiments", "experiment_steps")
CONTRACTS = Path(__file__).parents[2] / "tasks" / "contracts"
Message = tuple[str, Any]


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    return {name: contract_of(name) for name in TABLES}


@pytest.fixture
def refined(contracts: dict[str, Contract]) -> Callable[..., Refined]:
    def refine_messages(*messages: Message) -> Refined:
        rows = [(at, body if isinstance(body, bytes) else json.dumps(body).encode()) for at, body in messages]
        batch = RawBatch(
            dataset="opentrons://bench/runs",
            messages=pl.DataFrame(rows, schema=MESSAGE_SCHEMA, orient="row"),
            received_at=START + timedelta(hours=1),
            received_until=START + timedelta(hours=1),
            position=Position(source="opentrons://bench/runs", detail={"robot": "bench"}),
        )
        return refine(batch, Reference(frames={}), contracts, "opentrons")

    return refine_messages


def ticking() -> Callable[[], datetime]:
    """A clock that goes on by 250 ms each time it is asked."""
    times = iter(START + timedelta(milliseconds=250 * tick) for tick in range(10_000))
    return lambda: next(times)


def small_robot() -> Robot:
    return Robot(seconds=0, clock=ticking())


def answers(run: Run, page_length: int = 20) -> list[Message]:
    """A run as the robot would answer for it: itself, then its pages."""
    commands = [{k: v for k, v in command.items() if k != "result"} for command in run.commands]
    pages = [
        (
            f"/runs/{run.id}/commands?cursor={cursor}&pageLength={page_length}",
            {
                "data": commands[cursor : cursor + page_length],
                "meta": {"cursor": cursor, "totalLength": len(commands)},
            },
        )
        for cursor in range(0, max(len(commands), 1), page_length)
    ]
    return [(f"/runs/{run.id}", {"data": run.shown(current=True)}), *pages]


def a_run(**changes: Any) -> Message:
    run = {"id": "r1", "createdAt": START.isoformat(), "status": "running", "ok": True, "current": True}
    return "/runs/r1", {"data": run | changes}


def a_page(*commands: Any, cursor: int = 0) -> Message:
    return f"/runs/r1/commands?cursor={cursor}", {"data": list(commands), "meta": {"cursor": cursor}}


def a_command(name: str = "c1", **changes: Any) -> dict[str, Any]:
    return {"id": name, "commandType": "home", "status": "succeeded", "params": {}} | changes


async def test_a_whole_run_has_its_durations_volumes_and_names(refined: Callable[..., Refined]) -> None:
    protocol = serial_dilution(7)
    run = await small_robot().play(protocol)
    result = refined(
        *answers(run), (f"/protocols/{protocol.id}", {"data": {"metadata": {"protocolName": "Dilution"}}})
    )
    assert result.rejected.is_empty()
    assert result.read == len(protocol.steps) + 1
    (experiment,) = result.accepted["experiments"].to_dicts()
    assert experiment["experiment_id"] == run.id
    assert (experiment["status"], experiment["ok"], experiment["current"]) == ("succeeded", True, True)
    assert (experiment["robot"], experiment["protocol_name"]) == ("bench", "Dilution")
    assert experiment["commands"] == len(protocol.steps)
    assert experiment["error_count"] == 0
    # Started at one tick; then play's own tick; created, started and completed for each command; the end's.
    assert experiment["duration_s"] == pytest.approx(0.25 * (2 + 3 * len(protocol.steps)))
    assert [pipette["mount"] for pipette in json.loads(experiment["pipettes"])] == ["left"]

    steps = result.accepted["experiment_steps"].sort("step_index")
    assert steps["step_index"].to_list() == list(range(len(protocol.steps)))
    assert steps["command_type"].to_list() == [step.command_type for step in protocol.steps]
    assert steps["duration_s"].to_list() == [0.25] * steps.height
    assert steps["experiment_created_at"].unique().to_list() == [experiment["created_at"]]
    asked = [step.params["volume"] for step in protocol.steps if "volume" in step.params]
    moved = steps.filter(pl.col("volume_ul").is_not_null())
    assert moved["volume_ul"].to_list() == asked
    assert moved["flow_rate_ul_s"].unique().to_list() == [92.86]
    assert moved["pipette_name"].unique().to_list() == ["p300_single_gen2"]
    first = moved.row(0, named=True)
    assert (first["command_type"], first["labware_load_name"]) == ("aspirate", "nest_12_reservoir_15ml")
    assert (first["labware_slot"], first["well"], first["pipette_mount"]) == ("2", "A1", "left")
    dropped = steps.filter(pl.col("command_type") == "dropTip")
    assert dropped["labware_slot"].unique().to_list() == ["12"]


async def test_load_commands_know_what_they_loaded_though_lists_have_no_result(
    refined: Callable[..., Refined],
) -> None:
    run = await small_robot().play(serial_dilution(1))
    steps = refined(*answers(run)).accepted["experiment_steps"].sort("step_index")
    assert steps["result"].null_count() == steps.height
    loads = steps.filter(pl.col("command_type") == "loadLabware")
    assert loads["labware_slot"].to_list() == ["1", "2", "3"]
    assert loads["labware_id"].null_count() == 0
    pipette = steps.filter(pl.col("command_type") == "loadPipette").row(0, named=True)
    assert (pipette["pipette_id"], pipette["pipette_mount"]) == (run.pipettes[0]["id"], "left")


async def test_every_row_leads_back_to_its_message(refined: Callable[..., Refined]) -> None:
    run = await small_robot().play(serial_dilution(3))
    messages = answers(run, page_length=7)
    result = refined(*messages)
    for row in result.accepted["experiment_steps"].iter_rows(named=True):
        assert messages[row["sequence"]][1]["data"][row["part"]]["id"] == row["step_id"]
    (experiment,) = result.accepted["experiments"].to_dicts()
    assert (experiment["sequence"], experiment["part"]) == (0, None)


async def test_a_run_that_failed_in_a_command(refined: Callable[..., Refined]) -> None:
    run = await small_robot().play(failing(2))
    result = refined(*answers(run))
    (experiment,) = result.accepted["experiments"].to_dicts()
    assert (experiment["status"], experiment["error_count"]) == ("failed", 1)
    assert experiment["error_type"] == "ExceptionInProtocolError"
    assert "without a tip" in experiment["error_message"]
    last = result.accepted["experiment_steps"].sort("step_index").row(-1, named=True)
    assert (last["status"], last["error_type"], last["error_code"]) == (
        "failed",
        "TipNotAttachedError",
        "3020",
    )
    assert json.loads(last["error"])["detail"] == last["error_message"]


async def test_a_run_that_failed_in_its_python_has_no_failed_command(refined: Callable[..., Refined]) -> None:
    run = await small_robot().play(failing(2, "python"))
    result = refined(*answers(run))
    assert result.accepted["experiments"]["status"].to_list() == ["failed"]
    assert result.accepted["experiment_steps"]["status"].unique().to_list() == ["succeeded"]


def test_a_running_run_a_killed_run_and_one_without_protocol_are_ordinary(
    refined: Callable[..., Refined],
) -> None:
    going = refined(
        a_run(),
        a_page(a_command(status="running", startedAt=START.isoformat()), a_command("c2", status="queued")),
    )
    assert going.rejected.is_empty()
    assert going.accepted["experiment_steps"]["duration_s"].to_list() == [None, None]
    assert going.accepted["experiments"]["completed_at"].to_list() == [None]
    lost = {"id": "RunDataError", "detail": "There was no engine state data.", "errorCode": "4008"}
    killed = refined(a_run(ok=False, status="stopped", dataError=lost, protocolId="p"), a_page())
    (row,) = killed.accepted["experiments"].to_dicts()
    assert (row["ok"], row["status"], row["error_type"], row["commands"]) == (
        False,
        "stopped",
        "RunDataError",
        0,
    )
    assert killed.read == 1


def test_what_changes_on_the_robot_changes_the_hash_and_nothing_else_does(
    refined: Callable[..., Refined],
) -> None:
    def hashes(run: Message, *commands: Any) -> tuple[list[int], list[int]]:
        accepted = refined(run, a_page(*commands)).accepted
        return tuple(accepted[table]["input_hash"].to_list() for table in TABLES)  # type: ignore[return-value]

    at = {"startedAt": START.isoformat()}
    before = hashes(a_run(), a_command(status="running", **at, params={"x": 0}))
    same = hashes(a_run(), a_command(status="running", **at, params={"x": 0.0}))
    assert before == same  # the real robot writes 0 for a current run and 0.0 for a past one
    done = hashes(a_run(), a_command(status="succeeded", **at, params={"x": 0}))
    assert done[0] == before[0]
    assert done[1] != before[1]
    more = hashes(a_run(), a_command(status="running", **at, params={"x": 0}), a_command("c2"))
    assert more[0] != before[0]  # the number of commands is part of the run's row
    assert more[1][0] == before[1][0]


def test_a_pipette_whose_name_comes_later_revises_the_step(refined: Callable[..., Refined]) -> None:
    step = a_command(params={"pipetteId": "p1"})
    pipettes = [{"id": "p1", "pipetteName": "p20_single_gen2", "mount": "right"}]
    early = refined(a_run(pipettes=[]), a_page(step)).accepted["experiment_steps"].row(0, named=True)
    late = refined(a_run(pipettes=pipettes), a_page(step)).accepted["experiment_steps"].row(0, named=True)
    assert (early["pipette_name"], late["pipette_name"]) == (None, "p20_single_gen2")
    assert early["input_hash"] != late["input_hash"]


def test_overlapping_pages_count_once_as_seen_last(refined: Callable[..., Refined]) -> None:
    result = refined(
        a_run(),
        a_page(a_command("c1"), a_command("c2", status="running")),
        a_page(a_command("c2", status="succeeded"), a_command("c3"), cursor=1),
    )
    steps = result.accepted["experiment_steps"].sort("step_index")
    assert steps["step_id"].to_list() == ["c1", "c2", "c3"]
    assert steps["status"].to_list() == ["succeeded"] * 3
    assert steps["sequence"].to_list() == [1, 2, 2]
    assert (result.read, result.duplicates, result.superseded) == (5, 0, 1)
    again = refined(a_run(), a_page(a_command("c1")), a_page(a_command("c1")))
    assert (again.read, again.duplicates, again.superseded) == (3, 1, 0)


def test_two_pipettes_of_one_name_do_not_multiply_rows(refined: Callable[..., Refined]) -> None:
    pipette = {"id": "p1", "pipetteName": "p20_single_gen2", "mount": "right"}
    step = a_command(params={"pipetteId": "p1", "labwareId": "l1"})
    labware = {"id": "l1", "loadName": "plate", "location": {"moduleId": "m1"}, "displayName": "My plate"}
    modules = [{"id": "m1", "location": {"slotName": "7"}}]
    run = a_run(pipettes=[pipette, pipette], labware=[labware, labware], modules=modules)
    (row,) = refined(run, a_page(step)).accepted["experiment_steps"].to_dicts()
    assert (row["labware_name"], row["labware_load_name"], row["labware_slot"]) == ("My plate", "plate", "7")


BAD_COMMANDS = [
    pytest.param({"id": None}, ["step_id.required"], id="no id"),
    pytest.param({"id": ""}, ["step_id.min_length"], id="empty id"),
    pytest.param({"id": 5}, ["step_id.type"], id="id is a number"),
    pytest.param({"id": "a\x00b"}, ["step_id.nul"], id="NUL in the id"),
    pytest.param({"params": {"message": "\x00"}}, ["params.nul"], id="NUL deep in the params"),
    pytest.param({"params": {"a\x00": [1]}}, ["params.nul"], id="NUL in a key"),
    pytest.param({"params": {"m": "\ud800"}}, ["payload.json"], id="half a surrogate pair"),
    pytest.param({"params": {"volume": "5"}}, ["volume_ul.type"], id="number as a string"),
    pytest.param({"params": {"volume": True}}, ["volume_ul.type"], id="number as a boolean"),
    pytest.param({"params": {"volume": -1}}, ["volume_ul.range"], id="negative volume"),
    pytest.param({"params": {"volume": 10**40}}, ["params.json"], id="a whole number past 64 bits"),
    pytest.param({"params": {"volume": float("nan")}}, ["volume_ul.finite"], id="NaN for a number"),
    pytest.param({"params": {"x": float("nan")}}, ["payload.json"], id="NaN that no column reads"),
    pytest.param({"params": [1]}, ["params.type"], id="params is a list"),
    pytest.param(
        {"status": 3, "commandType": None}, ["command_type.required", "status.type"], id="two at once"
    ),
    pytest.param({"startedAt": "2026-03-01T08:00:00"}, ["started_at.zone"], id="time without zone"),
    pytest.param({"startedAt": "yesterday"}, ["started_at.format"], id="no time"),
    pytest.param({"startedAt": 1772352}, ["started_at.unit"], id="a number that is no time"),
    pytest.param({"id": "x" * 129}, ["step_id.max_length"], id="id too long"),
]


@pytest.mark.parametrize(("changes", "rules"), BAD_COMMANDS)
def test_a_bad_command_is_rejected_with_every_rule_it_breaks(
    refined: Callable[..., Refined], changes: dict[str, Any], rules: list[str]
) -> None:
    result = refined(a_run(), a_page(a_command("good"), a_command("bad") | changes))
    assert result.accepted["experiment_steps"]["step_id"].to_list() == ["good"]
    (row,) = result.rejected.to_dicts()
    assert row["rules"] == rules
    stage = "decode" if rules == ["payload.json"] else "validate"
    assert (row["sequence"], row["part"], row["stage"]) == (1, 1, stage)
    assert row["table"] == "experiment_steps"
    assert row["error_type"] == rules[0].split(".")[1]
    assert row["message"]
    was_read = {"step_id.required", "step_id.nul", "step_id.min_length", "step_id.max_length"}
    assert (row["input_hash"] is not None) == (rules[0] in {*was_read, "volume_ul.range"})


BAD_PAGES = [
    pytest.param(b"not json", "page.json", id="not JSON"),
    pytest.param(b"", "page.json", id="nothing"),
    pytest.param(b"\xff\xfe{}", "page.json", id="not UTF-8"),
    pytest.param(b"[" * 100_000, "page.json", id="nested without end"),
    pytest.param(b'{"data": [' + b"[" * 500 + b"]" * 500 + b"]}", "page.json", id="nested deeply"),
    pytest.param(b'{"data": ' + b"9" * 5000 + b"}", "page.json", id="a number without end"),
    pytest.param(b"[]", "page.data", id="an array"),
    pytest.param(b'{"data": {}}', "page.data", id="an object for the list"),
    pytest.param(b'{"errors": []}', "page.data", id="an error"),
    pytest.param(b'{"data": ["x"]}', "command.object", id="a string in the list"),
]


@pytest.mark.parametrize(("body", "rule"), BAD_PAGES)
def test_a_bad_page_is_one_rejected_record(refined: Callable[..., Refined], body: bytes, rule: str) -> None:
    result = refined(a_run(), ("/runs/r1/commands?cursor=0", body))
    (row,) = result.rejected.to_dicts()
    assert (row["rules"], row["stage"], row["table"]) == ([rule], "decode", "experiment_steps")
    assert result.accepted["experiments"].height == 1
    assert result.read == 2


def test_a_bad_run_is_rejected_and_its_steps_say_why(refined: Callable[..., Refined]) -> None:
    result = refined(a_run(createdAt=None, ok="yes"), a_page(a_command()))
    run, step = result.rejected.to_dicts()
    assert run["rules"] == ["created_at.required", "ok.type"]
    assert step["rules"] == ["experiment_created_at.required"]
    assert all(frame.is_empty() for frame in result.accepted.values())


@pytest.mark.parametrize(("days", "rule"), [(-4000, "oldest"), (2, "furthest")])
def test_a_run_outside_the_contracts_time(refined: Callable[..., Refined], days: int, rule: str) -> None:
    run = a_run(createdAt=(START + timedelta(days=days)).isoformat())
    rejected = refined(run, a_page(a_command())).rejected
    assert rejected["rules"].to_list() == [[f"created_at.{rule}"], [f"experiment_created_at.{rule}"]]
    assert rejected["input_hash"].null_count() == 0
    assert json.loads(rejected["key"][1])["step_id"] == "c1"


def test_strange_places_and_answers_for_another_run(refined: Callable[..., Refined]) -> None:
    result = refined(("/nope", {"data": {}}), a_run(id="r2"), ("/protocols/p/commands", {"data": []}))
    assert [rules[0] for rules in result.rejected["rules"]] == [
        "location.known",
        "experiment_id.location",
        "location.known",
    ]


def test_oddly_shaped_reference_data_never_raises(refined: Callable[..., Refined]) -> None:
    odd = a_run(
        pipettes=[1, {"id": 2, "mount": None}],
        labware=[{"id": "l1", "location": {"labwareId": "l1"}}, None],
        modules={"no": "list"},
        errors=[{"errorType": 7}, "x"],
        actions="none",
    )
    result = refined(
        odd, a_page(a_command(params={"labwareId": "l1"})), ("/protocols/p", {"data": {"metadata": 1}})
    )
    assert result.rejected.is_empty()
    assert result.accepted["experiment_steps"]["labware_slot"].to_list() == [None]


def test_frames_have_the_contracts_columns_even_when_empty(
    refined: Callable[..., Refined], contracts: dict[str, Contract]
) -> None:
    result = refined()
    assert result.read == 0
    for table in TABLES:
        expected = {**contracts[table].row_schema, **ORIGIN_SCHEMA}
        assert dict(result.accepted[table].schema) == expected
        assert dict(refined(a_run(), a_page(a_command())).accepted[table].schema) == expected


LAYOUTS = [
    ({"style": "ALL"}, 8),
    ({"style": "SINGLE", "primaryNozzle": "H1"}, 1),
    ({"style": "COLUMN", "primaryNozzle": "A1"}, 8),
    ({"style": "QUADRANT", "primaryNozzle": "H1", "backLeftNozzle": "E1", "frontRightNozzle": "H1"}, 4),
    ({"style": "QUADRANT", "primaryNozzle": "A1", "frontRightNozzle": "C1"}, 3),
    ({"style": "QUADRANT", "primaryNozzle": "A1"}, None),
    ({"style": "SPIRAL"}, None),
    ("none", None),
]


@pytest.mark.parametrize(("layout", "channels"), LAYOUTS)
def test_a_volume_is_of_each_channel_that_a_layout_left(
    refined: Callable[..., Refined], layout: Any, channels: int | None
) -> None:
    pipettes = [{"id": "p", "pipetteName": "p20_multi_gen2"}, {"id": "q", "pipetteName": "p300_single"}]
    configure = {"pipetteId": "p", "configurationParams": layout}
    result = refined(
        a_run(pipettes=pipettes),
        a_page(
            a_command("1", commandType="aspirate", params={"pipetteId": "p", "volume": 5}),
            a_command("2", commandType="configureNozzleLayout", status="failed", params=configure),
            a_command("3", commandType="aspirate", params={"pipetteId": "p", "volume": 5}),
            a_command("4", commandType="configureNozzleLayout", params=configure),
            a_command("5", commandType="dispenseInPlace", params={"pipetteId": "p", "volume": 5}),
            a_command("6", commandType="aspirate", params={"pipetteId": "q", "volume": 5}),
            a_command("7", commandType="configureForVolume", params={"pipetteId": "p", "volume": 5}),
            a_command("8", commandType="aspirate", params={"pipetteId": "unknown", "volume": 5}),
        ),
    )
    steps = result.accepted["experiment_steps"]
    assert steps["channels"].to_list() == [8, 8, 8, channels, channels, 1, channels, None]
    total = None if channels is None else 5.0 * channels
    assert steps["total_volume_ul"].to_list() == [40.0, None, 40.0, None, total, 5.0, None, None]
    assert steps["volume_ul"].to_list() == [5.0, None, 5.0, None, 5.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("p10_single", 1),
        ("p1000_single_flex", 1),
        ("flex_1channel_50", 1),
        ("p300_multi", 8),
        ("p50_multi_flex", 8),
        ("flex_8channel_1000", 8),
        ("flex_96channel_1000", 96),
        ("p1000_96", 96),
        ("a new kind", None),
    ],
)
def test_a_pipette_s_name_says_its_channels(
    refined: Callable[..., Refined], name: str, channels: int | None
) -> None:
    aspirate = a_command(commandType="aspirate", params={"pipetteId": "p", "volume": 2})
    result = refined(a_run(pipettes=[{"id": "p", "pipetteName": name}]), a_page(aspirate))
    assert result.accepted["experiment_steps"]["channels"].to_list() == [channels]


def test_while_an_answer_is_unreadable_only_one_channel_is_certain(refined: Callable[..., Refined]) -> None:
    pipettes = [{"id": "p", "pipetteName": "p20_multi_gen2"}, {"id": "q", "pipetteName": "p300_single"}]
    steps = refined(
        a_run(pipettes=pipettes),
        ("/runs/r1/commands?cursor=0", b"<html>"),
        a_page(
            a_command("1", commandType="aspirate", params={"pipetteId": "p", "volume": 5}),
            a_command("2", commandType="aspirate", params={"pipetteId": "q", "volume": 5}),
            cursor=20,
        ),
    ).accepted["experiment_steps"]
    assert steps["channels"].to_list() == [None, 1]


@pytest.mark.parametrize(
    ("takes", "seconds", "fault"),
    [
        (timedelta(seconds=2), 2.0, None),
        (timedelta(0), 0.0, None),
        (timedelta(days=30), 2_592_000.0, None),
        (timedelta(days=30, microseconds=1), None, "too_long"),
        (timedelta(days=8 * 365), None, "too_long"),
        (-timedelta(microseconds=1), None, "negative"),
        (-timedelta(days=8 * 365), None, "negative"),
    ],
)
def test_a_duration_that_no_clock_measured_is_null_and_marked(
    refined: Callable[..., Refined], takes: timedelta, seconds: float | None, fault: str | None
) -> None:
    times = {"startedAt": START.isoformat(), "completedAt": (START + takes).isoformat()}
    result = refined(
        a_run(**times),
        a_page(a_command(**times), a_command("c2"), a_command("c3", startedAt=times["startedAt"])),
    )
    assert result.rejected.is_empty()
    (run,) = result.accepted["experiments"].to_dicts()
    assert (run["duration_s"], run["duration_fault"]) == (seconds, fault)
    assert run["completed_at"] == START + takes
    steps = result.accepted["experiment_steps"].sort("step_id")
    assert steps["duration_s"].to_list() == [seconds, None, None]
    assert steps["duration_fault"].to_list() == [fault, None, None]
