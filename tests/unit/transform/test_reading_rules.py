"""Reading rules: what a column is read from, and what stands for what, the same in every format."""

import json
import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.catalog import Pipeline
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.extract import folder
from tasks.pattern import file_glob, file_pattern
from tasks.table_definition import TableDefinition
from tasks.transform import reading_rules
from tasks.transform.transforms import TRANSFORMS, Parameters, bound
from tests.fixtures import catalogs

NOW = datetime(2026, 11, 26, 20, tzinfo=UTC)
MANY = 40  # messages of a shape, so that it is learned
DOCUMENTED = (Path(__file__).parents[3] / "docs" / "pipelines.md").read_text(encoding="utf-8")


def refined(pipeline: Pipeline, messages: list[tuple[str, bytes]], layout: Layout | None = None) -> Refined:
    frame = pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row")
    source = pipeline.source.datasets(())[0]
    batch = RawBatch(dataset=source, messages=frame, received_at=NOW, received_until=NOW, layout=layout)
    return pipeline.refine()(batch, Reference(frames={}))


def rules(found: Refined) -> list[list[str]]:
    return found.rejected["rules"].to_list()


@pytest.fixture
def boxes(tmp_path: Path) -> Pipeline:
    """The pipeline that the documentation shows."""
    part = DOCUMENTED.partition("## Named parts")[2]
    example = re.search(r"```yaml\n(.*?)```", part, re.DOTALL)
    assert example
    catalogs.written(tmp_path / "boxes" / "pipeline.yaml", example[1])
    return catalogs.read(tmp_path).pipeline("boxes")


MEASURED = b'{"Time": "2026-11-26T20:11:12", "BME280": {"Temperature": 21.4}}'


def test_a_level_of_the_topic_is_a_column_and_a_time_is_in_its_zone(boxes: Pipeline) -> None:
    assert boxes.source.datasets(()) == ("mqtt:tele/+/SENSOR",)
    at = datetime(2026, 11, 26, 19, 11, 12, tzinfo=UTC)
    for copies in (1, MANY):
        topics = [f"tele/cellar-{number}/SENSOR" for number in range(copies)]
        found = refined(boxes, [(topic, MEASURED) for topic in topics])
        assert sorted(found.accepted["boxes"].select("box", "at", "temperature").rows()) == sorted(
            (topic.split("/")[1], at, 21.4) for topic in topics
        )


def test_a_topic_that_does_not_fit_is_rejected_whatever_it_holds(boxes: Pipeline) -> None:
    for topic in ("tele/cellar/STATE", "tele//SENSOR", "tele/a/b/SENSOR", "cellar"):
        assert rules(refined(boxes, [(topic, MEASURED)])) == [["topic.pattern", "box.required"]]
        assert rules(refined(boxes, [(topic, b"{")])) == [["payload.json", "topic.pattern"]]


def test_the_lineage_of_a_column_leads_to_the_topic(boxes: Pipeline) -> None:
    edges = boxes.columns("mqtt:tele/+/SENSOR")["boxes"]
    of = {edge.target_column: edge.source_column for edge in edges if edge.kind == "DIRECT"}
    assert of == {"box": "message.location", "at": "Time", "temperature": "BME280.Temperature"}


def of_columns(columns: dict[str, Any]) -> Contract:
    """The contract of a table with these columns, a device and a time."""
    own = {"device": {"type": "text"}, "at": {"type": "timestamp"}, **columns}
    said = {"key": ["device", "at"], "time": "at", "columns": own}
    return TableDefinition.model_validate(said).contract("t")


def records_of(contract: Contract, records: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of records; fails unless each way that reads JSON gives the same, and the same is rejected."""
    fitted = [{"device": f"d{at}", "at": "2026-11-26T19:00:00Z", **each} for at, each in enumerate(records)]
    found = []
    for copies in (1, MANY):
        payloads = [json.dumps(record).encode() for record in fitted for _ in range(copies)]
        run = bound("readings", {"t": contract}, Parameters(source_name="s"))
        frame = pl.DataFrame([("t", payload) for payload in payloads], MESSAGE_SCHEMA, orient="row")
        batch = RawBatch(dataset="kafka:t", messages=frame, received_at=NOW, received_until=NOW)
        outcome = run(batch, Reference(frames={}))
        bad = outcome.rejected.select("key", "rules").unique(maintain_order=True)
        found.append((outcome.accepted["t"].drop("sequence", "part"), bad))
    (one, bad), (many, also_bad) = found
    assert one.equals(many)
    assert bad.sort("key").equals(also_bad.sort("key"))
    return pl.concat([one, bad.rename({"key": "rejected"})], how="diagonal")


@pytest.mark.parametrize(
    ("said", "twice", "expected"),
    [
        ("2026-11-26T20:00:00", None, "2026-11-26T19:00:00"),
        ("2026-07-01 20:00:00.5", None, "2026-07-01T18:00:00.500000"),
        ("2026-11-26T19:00:00Z", None, "2026-11-26T19:00:00"),
        ("2026-11-26T19:00:00+05:30", None, "2026-11-26T13:30:00"),
        ("2026-10-25T02:30:00", None, "then.ambiguous"),
        ("2026-10-25T02:30:00", "reject", "then.ambiguous"),
        ("2026-10-25T02:30:00", "first", "2026-10-25T00:30:00"),
        ("2026-10-25T02:30:00", "second", "2026-10-25T01:30:00"),
        ("2026-03-29T02:30:00", "first", "then.nonexistent"),
        ("2026-02-30T02:30:00", None, "then.format"),
        ("yesterday", None, "then.format"),
        (1_795_000_000, None, "2026-11-18T11:06:40"),
    ],
)
def test_a_time_without_a_zone_is_in_that_of_its_column(
    said: object, twice: str | None, expected: str
) -> None:
    zone = {"zone": "Europe/Berlin"} | ({"twice": twice} if twice else {})
    row = records_of(of_columns({"then": {"type": "timestamp", **zone}}), [{"then": said}]).row(0, named=True)
    if "." in expected and not expected.startswith("2026"):
        assert row["rules"] == [expected]
    else:
        assert row["then"] == datetime.fromisoformat(expected).replace(tzinfo=UTC)


READ = {
    "mode": {"type": "text", "null_values": ["-", "?"], "map": {"A": "auto", "M": "manual"}},
    "open": {"type": "boolean", "map": {"1": True, "0": False, "true": True}},
    "level": {"type": "integer", "map": {"low": 1, "high": 2}, "required": True},
    "co2": {"type": "float", "null_values": ["", "n/a", -999]},
    "note": {"type": "text", "null_values": ["none", "7"]},
    "count": {"type": "integer", "null_values": [-1]},
    "kind": {"type": "text", "constant": "room"},
    "floor": {"type": "integer", "constant": 0},
}


def test_words_stand_for_what_their_column_says() -> None:
    rows = records_of(
        of_columns(READ),
        [
            {"mode": "A", "open": 1, "level": "low", "co2": "n/a", "note": "none", "count": -1, "kind": "x"},
            {"mode": "-", "open": 0.0, "level": "high", "co2": -999.0, "note": "7", "count": 3, "floor": 5},
            {"mode": "M", "open": True, "level": "low", "co2": 412.5, "note": "some", "count": 0},
            {"mode": None, "open": None, "level": "low", "co2": ""},
        ],
    )
    names = ["mode", "open", "level", "co2", "note", "count", "kind", "floor"]
    assert rows.select(names).rows() == [
        ("auto", True, 1, None, None, None, "room", 0),
        (None, False, 2, None, None, 3, "room", 0),
        ("manual", True, 1, 412.5, "some", 0, "room", 0),
        (None, None, 1, None, None, None, "room", 0),
    ]


@pytest.mark.parametrize(
    ("record", "broken"),
    [
        ({"mode": "B"}, ["mode.map"]),
        ({"mode": "a"}, ["mode.map"]),
        ({"mode": {}}, ["mode.type"]),
        ({"open": 2}, ["open.map"]),
        ({"open": False}, ["open.map"]),
        ({"open": 1.5}, ["open.map"]),
        ({"level": None}, ["level.required"]),
        ({"level": "mid"}, ["level.map"]),
        ({"co2": "N/A"}, ["co2.type"]),
        ({"co2": "-999"}, ["co2.type"]),
        ({"count": "-1"}, ["count.type"]),
    ],
)
def test_what_stands_for_nothing_is_rejected(record: dict[str, Any], broken: list[str]) -> None:
    row = records_of(of_columns(READ), [{"level": "low", **record}]).row(0, named=True)
    assert row["rules"] == broken


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-999, -999.0, 1.5, 0.0, -0.0, 1e300]),
    st.sampled_from(["", "n/a", "-", "A", "low", "true", "1", "none", "7", "-1", "\u00e9"]),
    st.just([]),
)


RECORDS = st.fixed_dictionaries({}, optional=dict.fromkeys(READ, VALUES))


@settings(max_examples=25, deadline=None)
@given(st.lists(RECORDS, min_size=8, max_size=8))  # not one at a time: a batch costs the same
def test_each_way_of_reading_json_says_the_same(records: list[dict[str, Any]]) -> None:
    assert records_of(of_columns(READ), records).height == len(records)


PATHS = """
doc: Rooms.
owner: me
source: {type: files, folder: rooms, archive: done, pattern: "{site}/{metric}_{day:[0-9-]+}.*"}
table:
  name: rooms
  key: [site, at]
  time: at
  columns:
    site: {type: text, from: {file: site}}
    metric: {type: text, from: {file: metric}, map: {co2: CO2}}
    day: {type: text, from: {file: day}}
    at: {type: timestamp, zone: Europe/Brussels}
    value: {type: float, null_values: [n/a, -1]}
    open: {type: boolean, map: {"1": true, "0": false}}
"""
HEADER = b"at,value,open\n"
LINES = b"2026-11-20 09:00:00,5.5,1\n2026-11-20 10:00:00,n/a,0\n2026-11-20 11:00:00,-1.0,\n"
EIGHT = datetime(2026, 11, 20, 8, tzinfo=UTC)
TOLD = [(EIGHT, 5.5, True), (EIGHT.replace(hour=9), None, False), (EIGHT.replace(hour=10), None, None)]


@pytest.fixture
def rooms(tmp_path: Path) -> Pipeline:
    catalogs.written(tmp_path / "rooms" / "pipeline.yaml", PATHS)
    return catalogs.read(tmp_path).pipeline("rooms")


def parquet() -> bytes:
    columns = {
        "at": [datetime(2026, 11, 20, hour) for hour in (9, 10, 11)],  # noqa: DTZ001 - it has no zone
        "value": [5.5, None, -1.0],
        "open": [1, 0, None],
    }
    held = BytesIO()
    pl.DataFrame(columns).write_ipc(held)
    return held.getvalue()


@pytest.mark.parametrize("written", ["csv", "parquet", "ndjson"])
def test_parts_of_a_path_are_columns_in_every_format(rooms: Pipeline, written: str) -> None:
    path = f"site-1/co2_2026-11-20.{written}"
    lines = {
        "csv": [(f"{path}:1", HEADER), (f"{path}:2", LINES)],
        "parquet": [(f"{path}:1", parquet())],
        "ndjson": [
            (
                f"{path}:1",
                b'{"at": "2026-11-20 09:00:00", "value": 5.5, "open": 1}\n'
                b'{"at": "2026-11-20T10:00:00", "value": "n/a", "open": 0}\n'
                b'{"at": "2026-11-20T11:00:00", "value": -1}\n',
            )
        ],
    }
    assert rooms.source.datasets(()) == ("file:rooms/*/*_*.*",)
    found = refined(rooms, lines[written], Layout(format=Format(written)))
    assert rules(found) == []
    rows = found.accepted["rooms"].select("site", "metric", "day", "at", "value", "open").rows()
    assert rows == [("site-1", "CO2", "2026-11-20", *told) for told in TOLD]
    elsewhere = [(where.replace("co2_2026-11-20", "co2_today"), payload) for where, payload in lines[written]]
    bad = refined(rooms, elsewhere, Layout(format=Format(written)))
    assert (bad.accepted["rooms"].height, rules(bad)) == (0, [["file.pattern", "site.required"]] * 3)


def test_a_part_that_a_record_names_too_is_as_the_record_says(tmp_path: Path) -> None:
    table = {"name": "own", "key": ["device", "at"], "time": "at"}
    columns = {"device": {"type": "text"}, "at": {"type": "timestamp"}}
    said = {"doc": "Own.", "owner": "me", "source": {"type": "mqtt", "topic": "own/{device}"}}
    catalogs.written(tmp_path / "own" / "pipeline.yaml", {**said, "table": {**table, "columns": columns}})
    own = catalogs.read(tmp_path).pipeline("own")
    payload = b'{"device": "a", "at": "2026-11-26T19:00:00Z"}'
    found = refined(own, [("own/a", payload), ("own/b", payload)])
    assert (found.accepted["own"]["device"].to_list(), rules(found)) == (["a"], [["topic.device"]])


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("tele/{box}x/SENSOR", "stands for a level of"),
        ("tele/{Box}/SENSOR", "stands for a level of"),
        ("tele/#/SENSOR", "# stands for a level of"),
        ("tele/a+/SENSOR", "+ stands for a level of"),
        ("tele/a#", "# stands for a level of"),
        ("tele/{box}/{box}", "names box twice"),
        (
            "tele/+/SENSOR",
            "box is read from box in the topic, and it has no names: write {box} where it stands",
        ),
    ],
)
def test_a_topic_that_is_none_is_refused(tmp_path: Path, boxes: Pipeline, topic: str, why: str) -> None:
    path = tmp_path / "boxes" / "pipeline.yaml"
    path.write_text(path.read_text().replace("tele/{box}/SENSOR", topic))
    assert why in catalogs.why_not(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("{site}/{site}.csv", "names site twice"),
        ("{site/x.csv", "{ in"),
        ("{site:([0-9]+)}.csv", "write (?:…) for (…)"),
        ("{site:[0-9}.csv", "is no pattern"),
        ("*.csv", "has no names"),
    ],
)
def test_a_pattern_that_is_none_is_refused(tmp_path: Path, pattern: str, why: str) -> None:
    path = catalogs.written(tmp_path / "rooms" / "pipeline.yaml", PATHS)
    path.write_text(path.read_text().replace('"{site}/{metric}_{day:[0-9-]+}.*"', f"'{pattern}'"))
    assert why in catalogs.why_not(tmp_path)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ({"type": "float", "null_values": ["-999"]}, "'-999' is a number: write it without quotes"),
        ({"type": "text", "null_values": [7]}, "what is read is text, never 7: write it in quotes"),
        ({"type": "integer", "map": {"low": 1}, "null_values": [-1]}, "what is read is text, never -1"),
        ({"type": "integer", "null_values": [1 << 63]}, "is not a whole number of 64 bits"),
        ({"type": "integer", "null_values": [1.5]}, "1.5 is not a whole number of 64 bits"),
        ({"type": "float", "null_values": [float("inf")]}, "inf is not a number"),
        ({"type": "boolean", "null_values": ["-"]}, "`null_values` stand in text, numbers and times"),
        ({"type": "float", "constant": 10**400}, "is not a number"),
        ({"type": "json", "constant": "NaN"}, "JSON has no constant"),
        ({"type": "timestamp", "constant": "x"}, "a timestamp has no constant"),
        ({"type": "timestamp", "zone": ""}, "no time zone is ''"),
        ({"type": "timestamp", "zone": "+02:00"}, "no time zone is '+02:00'"),
        ({"type": "timestamp", "zone": "Europe/Berlun"}, "no time zone is 'Europe/Berlun'"),
        ({"type": "timestamp", "twice": "first"}, "`twice` is of times in a `zone`"),
        ({"type": "text", "zone": "UTC"}, "`zone` is of times"),
        ({"type": "integer", "map": {"a": "b"}}, "`map` makes 'b' of 'a', which is not a whole number"),
        ({"type": "text", "map": {}}, "`map` is empty"),
        ({"type": "timestamp", "map": {"a": "b"}}, "`map` gives text, numbers and truth values"),
        ({"type": "text", "constant": "a", "from": "b"}, "is constant, so `from` does nothing"),
        ({"type": "text", "constant": "a", "one_of": ["b"]}, "the constant 'a' is none of its own `one_of`"),
        ({"type": "text", "derived": True, "map": {"a": "b"}}, "is derived, so `map` does nothing"),
        ({"type": "text", "from": {}}, "say one of these"),
        (
            {"type": "integer", "unit": "°C", "from_unit": "°F"},
            "a converted number is rounded: make it float",
        ),
        ({"type": "text", "unit": "°C", "from_unit": "°F"}, "make it float, and not text"),
        ({"type": "float", "from_unit": "°F"}, "c: say by `unit` what is stored"),
        (
            {"type": "float", "unit": "°C", "from_unit": "°F", "map": {"a": 1}},
            "a `map` gives what is meant, in °C",
        ),
        (
            {"type": "float", "unit": "°C", "from_unit": "°F", "constant": 1},
            "constant, so `from_unit` does nothing",
        ),
        ({"type": "float", "unit": "°C", "from_unit": "°F", "derived": True}, "derived, so `from_unit` does"),
        ({"type": "float", "unit": "rpm", "from_unit": "Hz"}, "c: one of Hz and rpm counts angles"),
        (
            {"type": "float", "unit": "celcius", "from_unit": "°F"},
            "c: no unit is called celcius, did you mean",
        ),
        (
            {"type": "float", "unit": "°C", "from_unit": "°F", "minimum": 5, "default": 4},
            "outside its own minimum",
        ),
    ],
)
def test_a_reading_rule_that_would_do_nothing_is_refused(column: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        of_columns({"c": column})


def test_null_values_are_exact() -> None:
    columns = of_columns({"n": {"type": "integer", "null_values": [9007199254740993]}})
    rows = records_of(columns, [{"n": 9007199254740993}, {"n": 9007199254740992}])
    assert rows["n"].to_list() == [None, 9007199254740992]


def test_minus_zero_is_zero_whatever_it_is_read_from(tmp_path: Path) -> None:
    columns = {"c": {"type": "float", "constant": -0.0}, "m": {"type": "float", "map": {"z": -0.0}}}
    row = records_of(of_columns(columns), [{"m": "z"}]).row(0, named=True)
    assert (str(row["c"]), str(row["m"])) == ("0.0", "0.0")


def test_null_words_are_asked_of_a_part_of_a_topic(tmp_path: Path) -> None:
    said = {"doc": "L.", "owner": "me", "source": {"type": "mqtt", "topic": "a/{level}/{room}"}}
    columns = {
        "room": {"type": "text", "from": {"topic": "room"}},
        "at": {"type": "timestamp"},
        "level": {"type": "float", "from": {"topic": "level"}, "null_values": ["-", 7]},
    }
    table = {"name": "levels", "key": ["room", "at"], "time": "at", "columns": columns}
    catalogs.written(tmp_path / "levels" / "pipeline.yaml", {**said, "table": table})
    levels = catalogs.read(tmp_path).pipeline("levels")
    payload = b'{"at": "2026-11-26T19:00:00Z"}'
    topics = {"a/-/r1": None, "a/7/r2": None, "a/-0/r3": 0.0, "a/1.5/r4": 1.5}
    found = refined(levels, [(topic, payload) for topic in topics])
    assert found.accepted["levels"].sort("room")["level"].to_list() == list(topics.values())
    assert rules(refined(levels, [("a/x/r", payload)])) == [["level.type"]]
    none_read = {name: {**column, "from": {"topic": "room"}} for name, column in columns.items()}
    catalogs.written(
        tmp_path / "levels" / "pipeline.yaml", {**said, "table": {**table, "columns": none_read}}
    )
    assert "no column is read from the record" in catalogs.why_not(tmp_path)


@pytest.mark.parametrize(
    ("column", "step"),
    [
        ({"type": "float", "minimum": 0}, "level / 2 > 1"),
        ({"type": "integer", "one_of": [1]}, "level % 2 = 1"),
        ({"type": "boolean"}, "NOT level"),
        ({"type": "timestamp"}, "level > at"),
        ({"type": "integer", "map": {"low": 1}}, "level > 1"),
    ],
)
def test_the_lineage_of_a_part_is_that_of_its_type(tmp_path: Path, column: dict[str, Any], step: str) -> None:
    said = {"doc": "L.", "owner": "me", "source": {"type": "mqtt", "topic": "a/{room}/{level}"}}
    columns = {
        "room": {"type": "text", "from": {"topic": "room"}},
        "at": {"type": "timestamp"},
        "level": {**column, "from": {"topic": "level"}},
        "seen": {"type": "boolean"},
    }
    table = {"name": "levels", "key": ["room", "at"], "time": "at", "columns": columns}
    whole = {**said, "table": table, "steps": [{"set": {"seen": step}}]}
    catalogs.written(tmp_path / "levels" / "pipeline.yaml", whole)
    edges = catalogs.read(tmp_path).pipeline("levels").columns("mqtt:a/+/+")["levels"]
    direct = {(each.target_column, each.source_column) for each in edges if each.kind == "DIRECT"}
    assert {("level", "message.location"), ("seen", "message.location")} <= direct


def test_a_time_of_parquet_beyond_any_calendar_is_a_fault_of_its_row(rooms: Pipeline) -> None:
    held = BytesIO()
    at = pl.Series([9_000_000_000_000_000, 1_795_000_000_000], dtype=pl.Datetime("ms"))
    pl.DataFrame({"at": at, "value": [1.0, 2.0]}).write_ipc(held)
    found = refined(rooms, [("s/co2_1.parquet:1", held.getvalue())], Layout(format=Format.PARQUET))
    assert (found.accepted["rooms"]["value"].to_list(), rules(found)) == ([2.0], [["at.format"]])


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        ("{site}.csv", ["a.csv", "A.CSV", "a.b.csv"], ["a/b.csv", "a.txt", ".csv"]),
        ("**/{site}_?.csv", ["x_1.csv", "a/b/x_1.csv"], ["x_12.csv"]),
        ("*/{day:[0-9-]+}*", ["a/2026-1", "a/2026.csv"], ["2026", "a/b/2026", "a/x"]),
    ],
)
def test_a_path_fits_a_pattern_as_files_are_found_by_it(
    pattern: str, fits: list[str], not_: list[str]
) -> None:
    found = file_pattern(pattern)
    assert found
    told = pl.DataFrame({"path": [*fits, *not_]}).select(found.fits(pl.col("path"))).to_series().to_list()
    assert told == [True] * len(fits) + [False] * len(not_)
    by_glob = [folder.fits(path, file_glob(pattern).split("/")) for path in fits]
    assert all(by_glob)


FAHRENHEIT = {
    "t": {"type": "float", "unit": "°C", "from": "f", "from_unit": "°F", "minimum": -40, "maximum": 50},
    "k": {"type": "float", "unit": "°C", "from_unit": "K", "null_values": ["-", 0], "default": 7.5},
}


def test_a_number_is_converted_after_its_null_words_and_before_its_rules() -> None:
    rows = records_of(
        of_columns(FAHRENHEIT),
        [
            {"f": 68, "k": 293.15},
            {"f": 32, "k": 0},
            {"f": None, "k": "-"},
            {"f": -40.0, "k": -0.0},
            {"f": 123},
            {"f": "68"},
            {"f": 1e308},
        ],
    )
    good = rows.filter(pl.col("rules").is_null()).sort("device")
    assert good.select("t", "k").rows() == [(20.0, 20.0), (0.0, 7.5), (None, 7.5), (-40.0, 7.5)]
    assert rows["rules"].drop_nulls().to_list() == [["t.range"], ["t.type"], ["t.range"]]


def test_a_record_is_the_same_in_whatever_unit_it_is_stored() -> None:
    """What is hashed is what was read; and it differs where that differs, even if the column does not."""
    record = {"f": 68, "k": 293.15}
    plain = {name: {"type": "float", "from": said.get("from", name)} for name, said in FAHRENHEIT.items()}
    one, other = (records_of(of_columns(said), [record])["input_hash"][0] for said in (FAHRENHEIT, plain))
    assert one == other
    near = records_of(of_columns(FAHRENHEIT), [{"f": 68.0, "k": 1e-300}, {"f": 68.0, "k": 1e-301}])
    assert near["k"].n_unique() == 1
    assert near["input_hash"].n_unique() == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=40))
def test_a_converted_value_does_not_depend_on_its_neighbours(numbers: list[float]) -> None:
    column = of_columns(FAHRENHEIT).column("t")
    whole = pl.DataFrame({"t": numbers}).select(reading_rules.in_unit(column))["t"].to_list()
    alone = [pl.DataFrame({"t": [each]}).select(reading_rules.in_unit(column))["t"][0] for each in numbers]
    assert whole == alone == [(each - 32) * (5 / 9) for each in numbers]


def test_the_lineage_of_a_converted_column_has_its_expression() -> None:
    run = TRANSFORMS["readings"].columns(
        {"t": of_columns(FAHRENHEIT)}, "kafka:t", Parameters(source_name="s")
    )
    (found,) = [each for each in run["t"] if each.target_column == "t" and each.kind == "DIRECT"]
    assert (found.source_column, found.subtype, found.opaque) == ("f", "TRANSFORMATION", False)


def test_a_kept_contract_knows_its_factors_without_a_library() -> None:
    contract = of_columns(FAHRENHEIT)
    kept = json.loads(contract.model_dump_json())["columns"][2]
    assert (kept["from_unit"], kept["conversion"]) == ("°F", [-32.0, 5 / 9, 0.0])
    kept["conversion"] = [0.0, 2.0, 0.0]
    said = json.dumps(
        {**json.loads(contract.model_dump_json()), "columns": [kept], "key": ["t"], "time": "t"}
    )
    assert Contract.stored(said).column("t").conversion == (0.0, 2.0, 0.0)
    assert "conversion" not in of_columns({"x": {"type": "float", "unit": "°C"}}).model_dump_json()
