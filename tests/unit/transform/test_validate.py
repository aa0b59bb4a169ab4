"""A contract's rules hold for any contract and any frame, with or without the faults of decoding."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from tasks.contract import Column, ColumnType, Contract, Missing, Together
from tasks.transform.validate import RULES, fill_defaults, rules_of, split

NOW = datetime(2026, 11, 21, tzinfo=UTC)
CONTRACT = Contract(
    table="runs",
    columns=(
        Column(name="name", type=ColumnType.TEXT, missing=Missing.REJECT, min_length=2, max_length=4),
        Column(name="at", type=ColumnType.TIMESTAMP, missing=Missing.REJECT),
        Column(name="volume", type=ColumnType.FLOAT, unit="µL", minimum=0),
        Column(name="tries", type=ColumnType.INTEGER, maximum=3, missing=Missing.DEFAULT, default=1),
        Column(name="row", type=ColumnType.INTEGER),
        Column(name="well", type=ColumnType.INTEGER),
        Column(name="made", type=ColumnType.TEXT, derived=True),
    ),
    key=("name", "at"),
    time="at",
    together=(Together(name="position", columns=("row", "well")),),
    oldest=timedelta(days=30),
    furthest=timedelta(hours=12),
)
INPUTS = {name: dtype for name, dtype in CONTRACT.row_schema.items() if name != "made"}


def judged(**changes: Any) -> list[str]:
    row = {"name": "abc", "at": NOW, "volume": 1.0, "tries": 1, "row": 1, "well": 1} | changes
    frame = pl.DataFrame([row], INPUTS)
    good, bad = split(frame, rules_of(CONTRACT, NOW, frame.schema))
    assert good.height + bad.height == 1
    return bad[RULES].to_list()[0] if bad.height else []


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({}, []),
        ({"name": None}, ["name.required"]),
        ({"name": "a"}, ["name.min_length"]),
        ({"name": "éééé"}, []),
        ({"name": "ééééé"}, ["name.max_length"]),
        ({"name": "a\x00b"}, ["name.nul"]),
        ({"at": NOW - timedelta(days=30)}, []),
        ({"at": NOW - timedelta(days=30, microseconds=1)}, ["at.oldest"]),
        ({"at": NOW + timedelta(hours=12, microseconds=1)}, ["at.furthest"]),
        ({"volume": -0.001}, ["volume.range"]),
        ({"volume": float("nan")}, ["volume.range"]),
        ({"volume": float("inf")}, ["volume.range"]),
        ({"volume": None, "tries": None}, []),
        ({"tries": 4}, ["tries.range"]),
        ({"row": None}, ["position.incomplete"]),
        ({"row": None, "well": None}, []),
        ({"name": "", "volume": -1.0, "tries": 9, "well": None},
         ["name.min_length", "volume.range", "tries.range", "position.incomplete"]),
    ],
)  # fmt: skip
def test_each_rule(changes: dict[str, Any], rules: list[str]) -> None:
    assert judged(**changes) == rules


def test_a_missing_value_gets_its_default() -> None:
    frame = pl.DataFrame({"tries": [None, 2], "volume": [None, 1.0]})
    filled = fill_defaults(frame, CONTRACT)
    assert filled["tries"].to_list() == [1, 2]
    assert filled["volume"].to_list() == [None, 1.0]


def test_a_default_that_nobody_stores_is_refused() -> None:
    with pytest.raises(ValidationError, match="go together"):
        Column(name="x", type=ColumnType.FLOAT, default=1.0)
    with pytest.raises(ValidationError, match="go together"):
        Column(name="x", type=ColumnType.FLOAT, missing=Missing.DEFAULT)


def test_a_group_names_columns_of_the_contract() -> None:
    broken = CONTRACT.model_dump() | {"together": [{"name": "position", "columns": ["row", "nothing"]}]}
    with pytest.raises(ValidationError, match="nothing is not one of its columns"):
        Contract.model_validate(broken)
