"""What a robot's columns are said to come from, against what changes them: no path may be missing."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from tasks.batch import MESSAGE_SCHEMA, Position, RawBatch, Reference
from tests.fixtures.catalogs import pipeline

SOURCE = "opentrons:bench/runs"
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
EXPERIMENTS = pipeline("experiments")
KEYS = {"experiments": ["experiment_id"], "experiment_steps": ["sequence", "part"]}

RUN = {
    "id": "r1",
    "createdAt": "2026-03-01T08:00:00Z",
    "startedAt": "2026-03-01T08:00:01Z",
    "completedAt": "2026-03-01T08:00:09Z",
    "status": "failed",
    "ok": True,
    "current": True,
    "protocolId": "p1",
    "pipettes": [
        {"id": "left", "pipetteName": "p20_multi_gen2", "mount": "left"},
        {"id": "right", "pipetteName": "p300_single_gen2", "mount": "right"},
    ],
    "labware": [
        {"id": "l1", "displayName": "Plate", "loadName": "plate", "location": {"moduleId": "m1"}},
        {"id": "l2", "loadName": "rack", "location": {"slotName": "2"}},
    ],
    "modules": [{"id": "m1", "location": {"slotName": "7"}}],
    "liquids": [{"displayName": "water"}],
    "actions": [{"actionType": "play"}],
    "errors": [{"errorType": "E", "errorCode": "4000", "detail": "it failed"}],
    "dataError": None,
}
LOST = {**RUN, "errors": [], "dataError": {"id": "RunDataError", "errorCode": "4008", "detail": "lost"}}


def a_command(name: str, kind: str, params: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": name, "commandType": kind, "status": "succeeded", "params": dict(params), **more}


LAYOUT = {"pipetteId": "left", "configurationParams": {"style": "SINGLE"}}
FAILED = {"errorType": "E", "errorCode": "3020", "detail": "no tip"}
COMMANDS = [
    a_command("c1", "loadPipette", {"mount": "left", "pipetteName": "p20_multi_gen2"}),
    a_command("c2", "loadLabware", {"loadName": "rack", "location": {"slotName": "2"}}),
    a_command(
        "c3",
        "loadPipette",
        {"mount": "x", "pipetteName": "y"},
        result={"pipetteId": "right"},
    ),
    a_command("c4", "loadLabware", {"loadName": "x", "location": "offDeck"}, result={"labwareId": "l1"}),
    a_command("c5", "configureNozzleLayout", LAYOUT),
    a_command(
        "c6",
        "aspirate",
        {"pipetteId": "left", "labwareId": "l1", "wellName": "A1", "volume": 5, "flowRate": 7.5},
        key="k",
        intent="protocol",
        createdAt="2026-03-01T08:00:02Z",
        startedAt="2026-03-01T08:00:03Z",
        completedAt="2026-03-01T08:00:04Z",
        error=FAILED,
        notes=["slow"],
    ),
]
ANSWERS = {
    "runs": {"data": RUN},
    "protocols": {"data": {"id": "p1", "metadata": {"protocolName": "Dilution"}}},
    "commands": {"data": COMMANDS, "meta": {"cursor": 0}},
}
AT = {"runs": "/runs/r1", "protocols": "/protocols/p1", "commands": "/runs/r1/commands?cursor=0"}
Frames = Mapping[str, pl.DataFrame]


def rows(answers: Mapping[str, Any]) -> Frames:
    """Table → its rows, sorted by what no change of a value changes."""
    messages = [(AT[name], json.dumps(answer).encode()) for name, answer in answers.items()]
    batch = RawBatch(
        dataset=SOURCE,
        messages=pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
        position=Position(source=SOURCE, detail={"robot": "bench"}),
    )
    found = EXPERIMENTS.refine()(batch, Reference(frames={})).accepted
    return {table: frame.sort("sequence", "part") for table, frame in found.items()}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where plain values stand."""
    if isinstance(value, dict):
        return [leaf for name, each in value.items() for leaf in leaves(each, (*path, name))]
    if isinstance(value, list):
        return [leaf for at, each in enumerate(value) for leaf in leaves(each, (*path, at))]
    return [path]


def changed(answers: Mapping[str, Any], at: Sequence[Any]) -> Mapping[str, Any]:
    """The answers with another value there, that keeps the rules."""
    found = copy.deepcopy(dict(answers))
    holder: Any = found
    for name in at[:-1]:
        holder = holder[name]
    holder[at[-1]] = OTHER[type(holder[at[-1]])](holder[at[-1]])
    return found


def _other_text(value: str) -> str:
    return value.replace(":0", ":1", 1) if value.startswith("2026") else f"{value}x"


OTHER: Mapping[type, Callable[[Any], Any]] = {
    str: _other_text,
    int: lambda value: value + 1,
    float: lambda value: value + 1,
    bool: lambda value: not value,
    type(None): lambda _: "x",
}


def lineage_name(at: Sequence[Any]) -> str:
    """As the record of lineage calls a path: within `data`, and through lists."""
    return ".".join(str(name) for name in at if name != "data" and not isinstance(name, int))


@pytest.mark.parametrize("run", [RUN, LOST], ids=["failed", "lost"])
def test_whatever_changes_a_column_is_among_what_it_comes_from(run: Mapping[str, Any]) -> None:
    answers = {**ANSWERS, "runs": {"data": run}}
    columns = EXPERIMENTS.columns(SOURCE)
    before, seen = rows(answers), set()
    for at in leaves(answers):
        after, name = rows(changed(answers, at)), lineage_name(at)
        for table, frame in before.items():
            told = {
                (edge.target_column, edge.source_column)
                for edge in columns[table]
                if edge.source_dataset == SOURCE
            }
            for column in EXPERIMENTS.contracts[table].names:
                if frame.height != after[table].height or frame[column].equals(after[table][column]):
                    continue  # the same, or rejected now: which rows there are is not what this asks
                assert any(
                    target == column
                    and source is not None
                    and (name == source or name.startswith(f"{source}."))
                    for target, source in told
                ), f"{table}.{column} changes with {name}"
                seen.add(f"{table}.{column}")
    assert len(seen) > 40  # of 25 and 37 columns, but the robot's name and the source's


def test_every_path_that_is_named_is_one_of_the_answers() -> None:
    every = [at for run in (RUN, LOST) for at in leaves({**ANSWERS, "runs": {"data": run}})]
    there = {lineage_name(at[: end + 1]) for at in every for end in range(len(at))}
    edges = [edge for found in EXPERIMENTS.columns(SOURCE).values() for edge in found]
    named = {edge.source_column for edge in edges if edge.source_dataset == SOURCE and edge.source_column}
    assert named <= there
    assert {"runs.pipettes.pipetteName", "commands.params.volume", "protocols.metadata.protocolName"} <= named
