"""Values looked up in a reference table: which row, which columns, and what cannot be asked for."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows import catalog
from flows.catalog import Pipeline
from tasks.batch import MESSAGE_SCHEMA, RawBatch, Reference, ReferenceState, Refined
from tests.fixtures import catalogs

NOW = datetime(2026, 11, 26, 20, tzinfo=UTC)
ROOMS = {
    "doc": "Rooms.",
    "owner": "me",
    "source": {"type": "files", "folder": "rooms", "pattern": "*.csv"},
    "table": {
        "name": "rooms",
        "key": ["building", "room"],
        "on_return": "revise",
        "columns": {
            "building": {"type": "text"},
            "room": {"type": "integer"},
            "floor": {"type": "integer"},
            "area": {"type": "float", "unit": "m²"},
        },
    },
}
OWNERS = {
    "doc": "Owners.",
    "owner": "me",
    "source": {"type": "files", "folder": "owners", "pattern": "*.csv"},
    "table": {
        "name": "owners",
        "key": ["floor"],
        "on_return": "revise",
        "columns": {"floor": {"type": "integer"}, "name": {"type": "text"}},
    },
}
BY = {"house": "building", "number": "room"}
LOOKUP: dict[str, Any] = {"table": "rooms", "by": BY, "add": {"storey": "floor", "area": "area"}}
CLIMATE: dict[str, Any] = {
    "doc": "Climate.",
    "owner": "me",
    "source": {"type": "kafka", "topic": "climate"},
    "table": {
        "name": "climate",
        "key": ["house", "number", "at"],
        "time": "at",
        "columns": {
            "house": {"type": "text"},
            "number": {"type": "integer"},
            "at": {"type": "timestamp"},
            "co2": {"type": "float"},
            "storey": {"type": "integer", "maximum": 90},
            "area": {"type": "float", "unit": "m²"},
            "keeper": {"type": "text", "required": True},
        },
    },
    "steps": [
        {"lookup": LOOKUP},
        {"lookup": {"table": "owners", "by": {"storey": "floor"}, "add": {"keeper": "name"}}},
    ],
}
STATES = {
    "rooms": ReferenceState(
        3,
        pl.DataFrame(
            [("a", 1, 7, 20.5), ("a", 2, None, 30.0), ("b", 1, 99, None), ("b", 2, 8, 1.0)],
            schema={"building": pl.String, "room": pl.Int64, "floor": pl.Int64, "area": pl.Float64},
            orient="row",
        ),
    ),
    "owners": ReferenceState(
        5, pl.DataFrame([(7, "ada")], schema={"floor": pl.Int64, "name": pl.String}, orient="row")
    ),
}


def written(tmp_path: Path, **changes: Any) -> None:
    for name, said in (("rooms", ROOMS), ("owners", OWNERS), ("climate", {**CLIMATE, **changes})):
        catalogs.written(tmp_path / name / "pipeline.yaml", said)


@pytest.fixture
def climate(tmp_path: Path) -> Pipeline:
    written(tmp_path)
    return catalogs.read(tmp_path).pipeline("climate")


def refined(pipeline: Pipeline, *places: tuple[str, int]) -> Refined:
    said = [{"house": house, "number": room, "at": "2026-11-26T19:00:00Z"} for house, room in places]
    messages = [("climate[0]@0", json.dumps(each).encode()) for each in said]
    batch = RawBatch(
        dataset="kafka:climate",
        messages=pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
    )
    return pipeline.refine()(batch, Reference(frames={}, tables=STATES))


def test_a_row_is_found_by_its_whole_key_and_what_was_found_is_looked_up_with(climate: Pipeline) -> None:
    found = refined(climate, ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("nowhere", 1))
    assert found.accepted["climate"].select("house", "storey", "area", "keeper").rows() == [
        ("a", 7, 20.5, "ada")
    ]
    assert found.rejected["rules"].to_list() == [
        ["keeper.required"],
        ["storey.range", "keeper.required"],
        ["keeper.required"],
        ["keeper.required"],
    ]
    assert found.looked_up == {"postgres:rooms": "batch 3", "postgres:owners": "batch 5"}


def test_a_value_does_not_depend_on_its_neighbours_nor_the_input_on_what_was_found(climate: Pipeline) -> None:
    together = refined(climate, ("nowhere", 1), ("a", 1), ("b", 2)).accepted["climate"]
    alone = refined(climate, ("a", 1)).accepted["climate"]
    assert alone.drop("sequence").equals(together.drop("sequence"))
    moved = ReferenceState(9, STATES["rooms"].rows.with_columns(floor=pl.lit(7, pl.Int64)))
    batch_again = refined_in(climate, {**STATES, "rooms": moved})
    assert batch_again["input_hash"].to_list() == alone["input_hash"].to_list()


def refined_in(pipeline: Pipeline, states: dict[str, ReferenceState]) -> pl.DataFrame:
    said = {"house": "a", "number": 1, "at": "2026-11-26T19:00:00Z"}
    frame = pl.DataFrame([("climate[0]@0", json.dumps(said).encode())], MESSAGE_SCHEMA, orient="row")
    batch = RawBatch(dataset="kafka:climate", messages=frame, received_at=NOW, received_until=NOW)
    return pipeline.refine()(batch, Reference(frames={}, tables=states)).accepted["climate"]


def test_the_lineage_of_a_column_leads_to_the_reference_table(climate: Pipeline) -> None:
    edges = climate.columns("kafka:climate")["climate"]
    direct = {
        (edge.source_dataset, edge.source_column, edge.target_column)
        for edge in edges
        if edge.kind == "DIRECT"
    }
    assert ("postgres:rooms", "floor", "storey") in direct
    assert ("postgres:rooms", "area", "area") in direct
    assert ("postgres:owners", "name", "keeper") in direct
    joined = {(edge.source_dataset, edge.source_column) for edge in edges if edge.target_column == "storey"}
    assert joined >= {("kafka:climate", "house"), ("kafka:climate", "number"), ("postgres:rooms", "room")}


def test_what_is_looked_up_is_part_of_the_version(tmp_path: Path, climate: Pipeline) -> None:
    assert climate.looks_up.keys() == {"rooms", "owners"}
    other = {**LOOKUP, "add": {"storey": "room", "area": "area"}}
    written(tmp_path, steps=[{"lookup": other}, CLIMATE["steps"][1]])
    assert catalogs.read(tmp_path).pipeline("climate").transformation().id != climate.transformation().id


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"table": "room"},
            "there is no table room to look up in, or it is broken: did you mean rooms?",
        ),
        ({"table": "zzz"}, "choose from devices, owners, rooms"),
        ({"table": "climate"}, "lookup reads climate, which is no reference table: it has a `time`"),
        ({"by": "house"}, "the key of rooms has several columns: write `by: {OURS: building, OURS: room}`"),
        (
            {"by": {"house": "building"}},
            "goes by building, and the key of rooms is building, room: name",
        ),
        (
            {"by": {"hous": "building", "number": "room"}},
            "reads hous, and there is no such column before it",
        ),
        (
            {"by": {"storey": "building", "number": "room"}},
            "reads storey, and there is no such column before",
        ),
        ({"by": {"house": "room", "number": "building"}}, "house is text, and room of rooms is integer"),
        ({"add": {"storey": "flor"}}, "lookup adds flor, and rooms has no such column: did you mean floor?"),
        ({"add": ["floor"]}, "a step sets floor, and climate has no such column"),
        (
            {"add": {"keeper": "floor"}},
            "keeper is text, and floor of rooms is integer: give both",
        ),
        ({"add": []}, "at least 1 item"),
        ({"valid_from": "since"}, "lookup.valid_from: Extra inputs are not permitted"),
        ({"tabel": "rooms"}, "lookup.tabel: Extra inputs are not permitted, did you mean table?"),
    ],
)
def test_what_cannot_be_looked_up_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    written(tmp_path, steps=[{"lookup": {**LOOKUP, **change}}])
    (broken,) = catalog.read_directories((tmp_path,)).broken
    assert re.search(re.escape(why), broken.why), broken.why


@pytest.mark.parametrize("key", ["storey", "high"])
def test_a_key_hangs_on_no_table_that_may_change(tmp_path: Path, key: str) -> None:
    """Delivered again, its record would be another row."""
    steps = [*CLIMATE["steps"], {"set": {"high": "storey > 3"}}]
    columns = {**CLIMATE["table"]["columns"], "high": {"type": "boolean"}}
    table = {**CLIMATE["table"], "columns": columns, "key": ["house", key, "at"]}
    written(tmp_path, steps=steps, table=table)
    why = f"{key} is set from postgres:rooms, which may change, so it cannot be in the key"
    assert any(why in each.why for each in catalog.read_directories((tmp_path,)).broken)


def test_values_of_another_unit_are_refused(tmp_path: Path) -> None:
    columns = {**CLIMATE["table"]["columns"], "area": {"type": "float", "unit": "ft²"}}
    written(tmp_path, table={**CLIMATE["table"], "columns": columns})
    (broken,) = catalog.read_directories((tmp_path,)).broken
    assert "area is in ft², and area of rooms is in m²: give both the same unit" in broken.why


def test_decimals_of_other_digits_are_refused(tmp_path: Path) -> None:
    """Theirs would be cut off to be ours."""
    theirs = {**ROOMS["table"]["columns"], "area": {"type": "decimal", "scale": 4}}
    catalogs.written(
        tmp_path / "rooms" / "pipeline.yaml", {**ROOMS, "table": {**ROOMS["table"], "columns": theirs}}
    )
    columns = {**CLIMATE["table"]["columns"], "area": {"type": "decimal", "precision": 12, "scale": 2}}
    catalogs.written(
        tmp_path / "climate" / "pipeline.yaml",
        {
            **CLIMATE,
            "table": {**CLIMATE["table"], "columns": columns},
            "steps": [{"lookup": {**LOOKUP, "add": ["area"]}}],
        },
    )
    (broken,) = catalog.read_directories((tmp_path,)).broken
    assert "area is numeric(12,2), and area of rooms is numeric(38,4)" in broken.why
