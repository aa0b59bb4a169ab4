"""A record is judged alike by the frame (`validate`, a stream's way) and alone (`record_rules`, robots)."""

from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl
import pytest

from tasks.contract import Contract
from tasks.decode.strict import tabulate
from tasks.transform.reading_rules import parsed
from tasks.transform.record_rules import check_record, check_time
from tasks.transform.validate import RULES, rules_of, split

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CONTRACT = Contract.model_validate(
    {
        "table": "things",
        "key": ["id", "at"],
        "time": "at",
        "together": [{"name": "place", "columns": ["x", "y"]}],
        "columns": [
            {"name": "id", "type": "text", "missing": "reject", "min_length": 2, "max_length": 4},
            {"name": "at", "type": "timestamp", "missing": "reject"},
            {"name": "level", "type": "float", "minimum": 0, "maximum": 10},
            {"name": "count", "type": "integer"},
            {"name": "unit", "type": "text", "max_length": 2, "one_of": ["°C", "K", "kPa"]},
            {"name": "level_of", "type": "integer", "one_of": [1, 2, 3], "maximum": 2},
            {"name": "order", "type": "text", "regex": "o-[0-9]+|none", "min_length": 4},
            {"name": "on", "type": "boolean"},
            {"name": "x", "type": "float", "path": ["place", "x"]},
            {"name": "y", "type": "float", "path": ["place", "y"]},
            {"name": "more", "type": "json"},
        ],
    }
)
GOOD = {"id": "abc", "at": "2026-11-21T11:00:00Z"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"id": ""},
        {"id": "a"},
        {"id": "abcde"},
        {"id": None},
        {"id": 7},
        {"id": "a\x00c"},
        {"at": None},
        {"at": "2026-11-21"},
        {"at": "20261121T110000Z"},
        {"at": "2026-11-21T11:00:00"},
        {"at": "2026-11-21 11:00:00z"},
        {"at": "2026-13-21T11:00:00Z"},
        {"at": "1999-11-21T11:00:00Z"},
        {"at": "2036-11-21T11:00:00Z"},
        {"at": "2026-11-21T11:00:00Z\n"},
        {"level": -1},
        {"level": 11.5},
        {"level": "5"},
        {"level": True},
        {"count": 1.5},
        {"count": 2.0},
        {"count": 2**63},
        {"on": 1},
        {"unit": "K"},
        {"unit": "kPa"},
        {"unit": "km/h"},
        {"unit": 3},
        {"level_of": 2},
        {"level_of": 3.0},
        {"level_of": 4},
        {"order": "o-17"},
        {"order": "none"},
        {"order": "o-17\n"},
        {"order": "an o-17"},
        {"order": "o-1"},
        {"order": "é"},
        {"place": {"x": 1.0}},
        {"place": {"x": 1.0, "y": 2}},
        {"place": {"x": 1.0, "y": "2"}},
        {"place": {"x": None, "y": 2}},
        {"place": [1, 2]},
        {"more": {"a": [1, "b"]}},
        {"more": "\x00"},
        {"id": "", "level": 50, "on": "yes", "at": "soon"},
    ],
    ids=repr,
)
def test_one_record_has_one_verdict(given: dict[str, Any]) -> None:
    record = GOOD | given
    assert sorted(_alone(record)) == sorted(_by_frame(record))


def _alone(record: dict[str, Any]) -> list[str]:
    checked = check_record(orjson.loads(orjson.dumps(record)), CONTRACT)
    at = checked.values["at"]
    return [*checked.rules, *(check_time(at, CONTRACT, NOW) if at else [])]


def _by_frame(record: dict[str, Any]) -> list[str]:
    frame = tabulate([record], CONTRACT).with_columns(sequence=pl.lit(0, pl.Int32))
    frame = parsed(frame, CONTRACT)
    _, bad = split(frame, rules_of(CONTRACT, NOW, frame.schema))
    return [rule for rules in bad[RULES] for rule in rules]
