"""Every type of a column keeps its port: from JSON, text and a typed frame it is one value, or one fault."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.contract import Column, ColumnType, Contract
from tasks.decode import cells, shape, strict
from tasks.look.row_key import read_key
from tasks.transform.reading_rules import parsed
from tasks.types import companions, kinds
from tasks.types.kinds import TYPES

MOMENT = datetime(2026, 11, 28, 6, 30, tzinfo=UTC)
# Of each type: a value, as JSON, as text, as a typed frame has it; then what is none, and its fault.
VALUES: dict[str, tuple[Any, str, str, pl.Series, str, str]] = {
    "text": ("aé", '"aé"', "aé", pl.Series(["aé"]), "7", "type"),
    "float": (2.5, "2.5", "2.5", pl.Series([2.5]), '"2.5"', "type"),
    "integer": (7, "7", "7", pl.Series([7], dtype=pl.Int16), "7.5", "type"),
    "decimal": (Decimal("2.50"), "2.5", "2.5", pl.Series([Decimal("2.5")]), "2.555", "scale"),
    "boolean": (True, "true", "true", pl.Series([True]), "1", "type"),
    "timestamp": (
        MOMENT,
        '"2026-11-28T06:30:00Z"',
        "2026-11-28T07:30:00+01:00",
        pl.Series([MOMENT]),
        "7",
        "unit",
    ),
    "json": ('{"a":[1]}', '{"a": [1]}', '{"a": [1]}', pl.Series(['{"a":[1]}']), '"\\u0000"', "nul"),
}
NAMES = sorted(VALUES)


def _column(name: str) -> Column:
    return Column(name="x", type=ColumnType(name), **({"scale": 2} if name == "decimal" else {}))


def _contract(name: str) -> Contract:
    said = {"key": ["at"], "time": "at", "columns": [{"name": "at", "type": "timestamp"}, _column(name)]}
    return Contract.model_validate({"table": "things", **said})


def _value(frame: pl.DataFrame, name: str) -> Any:
    """The only value that cells lead to; it has no fault."""
    value = parsed(frame, _contract(name))
    fault = companions.fault("x")
    assert fault not in value.columns or value[fault].to_list() == [None]
    assert value.schema["x"] == _column(name).polars_type
    return value["x"].item()


def _from_json(payload: str, name: str) -> pl.DataFrame:
    contract = _contract(name)
    record = strict.read(payload.encode(), contract, strict.decimals_of(contract))
    assert not isinstance(record, str)
    return strict.tabulate([record], contract)


def test_every_type_is_a_file_and_a_line() -> None:
    folder = Path(kinds.__file__).parent
    ports = {"__init__", "type", "kinds", "companions", "json_number"}
    assert {path.stem for path in folder.glob("*.py")} - ports == set(TYPES) == set(ColumnType) == set(VALUES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read_from_json(name: str) -> None:
    value, written, *_ = VALUES[name]
    assert _value(_from_json(f'{{"x": {written}}}', name), name) == value


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read_from_text(name: str) -> None:
    value, _, text, *_ = VALUES[name]
    read = pl.DataFrame({"x": [text]}).select(TYPES[name].from_text(pl.col("x"), "x"))
    assert _value(read, name) == value


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read_from_a_column_that_has_a_type(name: str) -> None:
    value, _, _, typed, *_ = VALUES[name]
    found = TYPES[name].from_typed(_column(name), pl.col("x"), typed.dtype)
    assert found is not None
    assert _value(typed.alias("x").to_frame().select(found), name) == value


@pytest.mark.parametrize("name", NAMES)
def test_what_is_none_is_a_fault(name: str) -> None:
    *_, none, fault = VALUES[name]
    found = parsed(_from_json(f'{{"x": {none}}}', name), _contract(name))
    assert (found["x"].to_list(), found[companions.fault("x")].to_list()) == ([None], [f"x.{fault}"])


@pytest.mark.parametrize("name", NAMES)
def test_a_shape_reads_it_as_the_strict_way_does_or_leaves_it(name: str) -> None:
    payload = f'{{"at": "2026-11-28T06:30:00Z", "x": {VALUES[name][1]}}}'
    learned = shape.learn(payload, _contract(name))
    if not TYPES[name].captured:
        assert learned is None
        return
    assert learned is not None
    read = learned.read(pl.Series("text", [payload]))
    assert read[shape.MATCHED].all()
    assert _value(read.drop(shape.MATCHED), name) == VALUES[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_decoding_gives_the_cell_that_it_says(name: str) -> None:
    frame = _from_json(f'{{"x": {VALUES[name][1]}}}', name)
    assert frame.schema["x"] == TYPES[name].cell == cells.type_of(_column(name))
    assert (companions.epoch("x") in frame.columns) is TYPES[name].has_epoch


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"json"}))
def test_a_person_may_write_it_in_a_key(name: str) -> None:
    value, _, text, *_ = VALUES[name]
    said = {"key": ["x", "at"], "time": "at", "columns": [_column(name), {"name": "at", "type": "timestamp"}]}
    contract = Contract.model_validate({"table": "things", **said})
    assert read_key(contract, f"x={text},at=2026-11-28T06:30:00Z")["x"] == value


@pytest.mark.parametrize("name", NAMES)
def test_it_is_written_as_json(name: str) -> None:
    value = VALUES[name][0]
    frame = pl.DataFrame({"x": pl.Series([value], dtype=_column(name).polars_type)})
    written = json.loads(frame.select(TYPES[name].as_json(pl.col("x"))).item())
    wanted = {"timestamp": "2026-11-28T06:30:00.000000Z", "decimal": "2.50", "json": {"a": [1]}}
    assert written == wanted.get(name, value)
