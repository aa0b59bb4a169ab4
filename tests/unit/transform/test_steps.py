"""Steps: columns computed from others of the record, judged and traced as any column."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows import catalog
from flows.catalog import Pipeline
from lineage.errors import ContractError, TransformError
from tasks.batch import MESSAGE_SCHEMA, RawBatch, Reference, Refined
from tasks.transform.steps.expression import ONE, expression
from tasks.transform.steps.kinds import STEPS
from tasks.transform.weather import dew_point
from tests.fixtures import catalogs

NOW = datetime(2026, 11, 26, 20, tzinfo=UTC)
AT = "2026-11-26T19:00:00Z"
ROOM: dict[str, Any] = {
    "doc": "Rooms.",
    "owner": "me",
    "source": {"type": "kafka", "topic": "rooms"},
    "table": {
        "name": "rooms",
        "key": ["room", "at"],
        "time": "at",
        "columns": {
            "room": {"type": "text"},
            "at": {"type": "timestamp"},
            "co2": {"type": "float", "unit": "ppm"},
            "temperature": {"type": "float", "unit": "°C"},
            "humidity": {"type": "float", "unit": "%"},
            "dew_point": {"type": "float", "unit": "°C", "maximum": 20},
            "stuffy": {"type": "boolean"},
            "third": {"type": "float"},
            "share": {"type": "float"},
        },
    },
    "steps": [
        {"weather": {"add": ["dew_point"], "temperature": "temperature", "humidity": "humidity"}},
        {"set": {"stuffy": "co2 > 1000 OR dew_point > 15", "third": "co2 / 3", "share": "co2 / humidity"}},
    ],
}


def written(tmp_path: Path, **changes: Any) -> Path:
    return catalogs.written(tmp_path / "rooms" / "pipeline.yaml", {**ROOM, **changes})


@pytest.fixture
def rooms(tmp_path: Path) -> Pipeline:
    written(tmp_path)
    return catalogs.read(tmp_path).pipeline("rooms")


def refined(pipeline: Pipeline, *records: dict[str, Any]) -> Refined:
    fitted = [{"room": f"r{number:03}", "at": AT, **record} for number, record in enumerate(records)]
    messages = [("rooms[0]@0", json.dumps(record).encode()) for record in fitted]
    frame = pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row")
    batch = RawBatch(dataset="kafka:rooms", messages=frame, received_at=NOW, received_until=NOW)
    return pipeline.refine()(batch, Reference(frames={}))


def test_columns_are_set_from_others_in_the_order_of_the_steps(rooms: Pipeline) -> None:
    measured = {"temperature": 21.4, "humidity": 44.1}
    warm = {"temperature": 25.0, "humidity": 60.0}
    found = refined(rooms, {"co2": 1200, **measured}, {"co2": 400.0, **warm}, {"co2": 400}, {})
    expected = pl.select(dew_point(pl.lit(pl.Series([21.4, 25.0])), pl.lit(pl.Series([44.1, 60.0]))))
    dew = expected.to_series().to_list()
    assert found.accepted["rooms"].sort("room").select("stuffy", "third", "dew_point").rows() == [
        (True, 400.0, dew[0]),
        (True, 400.0 / 3, dew[1]),
        (None, 400.0 / 3, None),
        (None, None, None),
    ]


def test_a_value_does_not_depend_on_the_size_of_its_batch(rooms: Pipeline) -> None:
    records = [{"co2": number * 0.7, "temperature": number / 9, "humidity": 50.1} for number in range(60)]
    together = refined(rooms, *records).accepted["rooms"].sort("room").drop("room", "sequence", "input_hash")
    alone = [refined(rooms, record).accepted["rooms"] for record in records]
    assert pl.concat(alone).drop("room", "sequence", "input_hash").equals(together)


def test_what_a_step_sets_is_never_read(rooms: Pipeline) -> None:
    found = refined(rooms, {"co2": 1200, "stuffy": False, "dew_point": 99, "third": "x"})
    assert found.accepted["rooms"].select("stuffy", "third", "dew_point").rows() == [(True, 400.0, None)]


def test_a_set_column_keeps_the_rules_of_its_column(rooms: Pipeline) -> None:
    endless = {"co2": 1, "humidity": 0, "temperature": 10}
    found = refined(rooms, {"temperature": 40, "humidity": 90, "co2": 1}, endless, {"co2": 1, "humidity": 50})
    assert found.rejected["rules"].to_list() == [["dew_point.range"], ["share.finite"]]
    assert found.rejected["key"][0] == '{"at":"2026-11-26T19:00:00.000000Z","room":"r000"}'
    assert found.rejected["input_hash"].null_count() == 0
    assert (found.read, found.accepted["rooms"].height) == (3, 1)


def test_a_formula_gives_a_column_of_any_name_and_a_humidity_of_nearly_nothing_has_no_dew_point(
    tmp_path: Path,
) -> None:
    weather = {"add": {"third": "dew_point"}, "temperature": "temperature", "humidity": "humidity"}
    rooms = with_steps(tmp_path, {"weather": weather})
    found = refined(rooms, {"temperature": 21.4, "humidity": 44.1}, {"temperature": 20, "humidity": 5e-324})
    dew, none = found.accepted["rooms"].sort("room")["third"].to_list()
    assert (round(dew, 1), none, found.rejected.height) == (8.7, None, 0)


def test_the_lineage_of_a_set_column_is_what_it_was_computed_from(rooms: Pipeline) -> None:
    edges = rooms.columns("kafka:rooms")["rooms"]
    of: dict[str, set[str | None]] = {}
    for edge in edges:
        if edge.kind == "DIRECT":
            of.setdefault(edge.target_column, set()).add(edge.source_column)
    assert of["stuffy"] == {"co2", "temperature", "humidity"}
    assert (of["third"], of["dew_point"]) == ({"co2"}, {"temperature", "humidity"})


def test_a_step_is_part_of_the_version(tmp_path: Path, rooms: Pipeline) -> None:
    assert rooms.transformation() == rooms.transformation()
    written(tmp_path, steps=[ROOM["steps"][0], {"set": ROOM["steps"][1]["set"] | {"stuffy": "co2 > 999"}}])
    assert catalogs.read(tmp_path).pipeline("rooms").transformation().id != rooms.transformation().id


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([{"sett": {"stuffy": "co2 > 1"}}], "there is no step sett: did you mean set?"),
        ([{"were": "co2 > 1"}], "there is no step were: did you mean where?"),
        ([{"where": "co2 + 1"}], "where: 'co2 + 1' gives a number: write what is true or not"),
        ([{"where": "NULL"}], "where: 'NULL' gives null: write what is true or not"),
        ([{"where": "co > 1"}], "there is no column co to be read here: did you mean co2?"),
        ([{"where": "third > 1"}, {"set": {"third": "co2"}}], "there is no column third to be read here"),
        ([{"where": "room > 1"}], "where: 'room > 1' cannot be computed"),
        ([{"where": "SUM(co2) > 1"}], "is not taken"),
        ([{"where": "co2 >"}], "is no expression"),
        ([{"where": ["co2 > 1"]}], "Input should be a valid string"),
        ([{"set": {"stuffy": "co2 > 1"}, "weather": {}}], "a step is one word with what it does"),
        ([{"set": {"stufy": "co2 > 1"}}], "a step sets stufy, and rooms has no such column"),
        (
            [{"set": {"co2": "temperature"}}, {"set": {"co2": "1"}}],
            "co2 is set twice: give one of the",
        ),
        ([{"set": {"stuffy": "co > 1"}}], "there is no column co to be read here: did you mean co2?"),
        ([{"set": {"stuffy": "third > 1", "third": "co2"}}], "there is no column third to be read here"),
        ([{"set": {"stuffy": "co2 + 1"}}], "gives a number, and the column is boolean"),
        ([{"set": {"stuffy": "co2 >"}}], "is no expression"),
        ([{"set": {"stuffy": True}}], "Input should be a valid string"),
        ([{"weather": {"ad": ["dew_point"]}}], "did you mean add?"),
        ([{"set": {"stuffy": "room > 1"}}], "cannot be computed"),
        (
            [{"weather": {"add": ["wind"], "temperature": "temperature", "humidity": "humidity"}}],
            "Input should be 'dew_point' or 'heat_index'",
        ),
        (
            [{"weather": {"add": ["third"], "temperature": "temperature", "humidity": "humidity"}}],
            "Input should be 'dew_point' or 'heat_index'",
        ),
        (
            [{"weather": {"add": ["dew_point"], "temperature": "co2", "humidity": "humidity"}}],
            "weather takes co2 as float in °C, and it is float in ppm",
        ),
    ],
)
def test_a_step_that_cannot_be_is_refused_before_the_first_record(
    tmp_path: Path, steps: list[Any], why: str
) -> None:
    written(tmp_path, steps=steps)
    assert why in catalogs.why_not(tmp_path)


def with_steps(tmp_path: Path, *steps: dict[str, Any], **columns: Any) -> Pipeline:
    table = {**ROOM["table"], "columns": {**ROOM["table"]["columns"], **columns}}
    written(tmp_path, table=table, steps=list(steps))
    return catalogs.read(tmp_path).pipeline("rooms")


def test_what_is_not_true_is_filtered(tmp_path: Path) -> None:
    rooms = with_steps(tmp_path, {"where": "co2 > 400"}, ROOM["steps"][1] | {"set": {"third": "co2 / 3"}})
    found = refined(rooms, {"co2": 399}, {"co2": 600}, {}, {"co2": 900})
    assert found.accepted["rooms"].sort("room").select("room", "third").rows() == [
        ("r001", 200.0),
        ("r003", 300.0),
    ]
    assert (found.read, found.filtered, found.rejected.height, found.superseded) == (4, 2, 0, 0)
    filtered = found.filtered_rows.select("sequence", "part", "table", "key").rows()
    assert filtered == [
        (at, None, "rooms", f'{{"at":"2026-11-26T19:00:00.000000Z","room":"r00{at}"}}') for at in (0, 2)
    ]
    assert found.filtered_rows["input_hash"].null_count() == 0


def test_what_is_filtered_is_known_by_the_key_that_a_step_would_set(tmp_path: Path) -> None:
    """Where that cannot be computed, its neighbours still have theirs."""
    rooms = with_steps(
        tmp_path,
        {"where": "count < 0"},
        {"set": {"code": "count * 10", "third": "co2 / 3"}},
        count={"type": "integer"},
        code={"type": "decimal", "precision": 4, "scale": 0},
    )
    (contract,) = rooms.contracts.values()
    keyed = contract.model_copy(update={"key": ("at", "code")})
    changed = rooms.model_copy(update={"contracts": {"rooms": keyed}})
    found = refined(changed, {"count": 7}, {"count": 5000}, {"count": 8}, {"count": -1})
    at = '"at":"2026-11-26T19:00:00.000000Z"'
    assert found.filtered_rows["key"].to_list() == [f'{{{at},"code":"70"}}', None, f'{{{at},"code":"80"}}']
    assert found.accepted["rooms"]["third"].to_list() == [None]


def test_each_step_sees_what_was_set_and_kept_before_it(tmp_path: Path) -> None:
    rooms = with_steps(
        tmp_path,
        {"where": "co2 IS NOT NULL"},
        {"set": {"third": "co2 / 3"}},
        {"where": "third < 400"},
        {"set": {"share": "third / humidity"}},
        {"where": "NOT stale"},
        stale={"type": "boolean", "default": False},
    )
    rest = {"humidity": 50, "temperature": 20}
    found = refined(
        rooms, {"co2": 300, **rest}, {"co2": 1200, "humidity": 0}, {"co2": 3, "stale": True, **rest}, rest
    )
    assert found.accepted["rooms"].select("room", "third", "share").rows() == [("r000", 100.0, 2.0)]
    assert found.filtered_rows["sequence"].sort().to_list() == [1, 2, 3]
    assert found.rejected.is_empty()  # no share by 0 of what had left before


def test_a_record_is_judged_by_what_was_read_before_it_is_filtered_and_by_what_is_set_after(
    tmp_path: Path,
) -> None:
    rooms = with_steps(
        tmp_path,
        {"where": "co2 > 400"},
        {"set": {"third": "co2 / 3"}},
        third={"type": "float", "maximum": 300},
        temperature={"type": "float", "maximum": 50},
    )
    found = refined(rooms, {"co2": 100, "temperature": 60}, {"co2": 1200}, {"co2": 100}, {"co2": 600})
    broken = found.rejected.sort("sequence").select("sequence", "rules").rows()
    assert broken == [(0, ["temperature.range"]), (1, ["third.range"])]
    assert (found.filtered_rows["sequence"].to_list(), found.accepted["rooms"].height) == ([2], 1)


def test_a_record_that_is_filtered_takes_no_key(tmp_path: Path) -> None:
    rooms = with_steps(tmp_path, {"where": "co2 > 400"})
    found = refined(rooms, {"room": "a", "co2": 1}, {"room": "a", "co2": 500}, {"room": "a", "co2": 2})
    assert found.accepted["rooms"].select("room", "co2").rows() == [("a", 500.0)]
    assert (found.filtered, found.duplicates, found.rejected.height) == (2, 0, 0)


def test_what_was_superseded_is_not_what_a_step_left_out(tmp_path: Path) -> None:
    columns = {**ROOM["table"]["columns"]}
    table = {**ROOM["table"], "columns": columns, "on_return": "revise"}
    written(tmp_path, table=table, steps=[{"where": "co2 > 400"}])
    rooms = catalogs.read(tmp_path).pipeline("rooms")
    found = refined(rooms, *({"room": "a", "co2": co2} for co2 in (1, 500, 600, 2)))
    assert found.accepted["rooms"]["co2"].to_list() == [600.0]
    assert (found.filtered, found.superseded) == (3, 1)
    assert found.filtered_rows["sequence"].to_list() == [0, 3]


def test_what_a_step_does_does_not_depend_on_how_many_others_it_leaves_out(tmp_path: Path) -> None:
    rooms = with_steps(
        tmp_path,
        {"where": "POWER(co2, k) > 4 AND co2 / k > 0.5"},
        {"set": {"third": "POWER(co2, k) / 3"}},
        k={"type": "float", "constant": 3.0},
    )
    records = [{"co2": number * 1.61803398875 / 7} for number in range(23)]
    together = refined(rooms, *records)
    alone = [refined(rooms, record) for record in records]
    kept = [found.accepted["rooms"]["third"].to_list() for found in alone]
    assert together.accepted["rooms"].sort("room")["third"].to_list() == [each[0] for each in kept if each]
    assert together.filtered_rows["sequence"].to_list() == [at for at, each in enumerate(kept) if not each]


def test_the_lineage_of_every_column_leads_to_what_a_step_filters_by(tmp_path: Path) -> None:
    rooms = with_steps(
        tmp_path,
        {"set": {"stuffy": "humidity > 50"}},
        {"where": "stuffy AND mode <> 'test'"},
        mode={"type": "text"},
        rest={"type": "text"},
    )
    edges = rooms.columns("kafka:rooms")["rooms"]
    filters = {
        edge.source_column for edge in edges if edge.target_column == "rest" and edge.kind == "INDIRECT"
    }
    assert {"mode", "humidity"} <= filters
    assert "rest" not in {edge.source_column for edge in edges if edge.target_column == "mode"} - filters


def test_a_column_that_is_read_and_set_is_refused(tmp_path: Path) -> None:
    table = {**ROOM["table"], "columns": {**ROOM["table"]["columns"]}}
    table["columns"]["stuffy"] = {"type": "boolean", "from": "stale"}
    written(tmp_path, table=table)
    assert "stuffy is set by a step, so `from` does nothing" in catalogs.why_not(tmp_path)


def test_pipelines_of_one_table_set_the_same_columns(tmp_path: Path) -> None:
    table = dict(ROOM["table"])
    catalogs.written(tmp_path / "rooms" / "tables" / f"{table.pop('name')}.yaml", table)
    shared = {name: said for name, said in ROOM.items() if name != "table"} | {"tables": [{"name": "rooms"}]}
    catalogs.written(tmp_path / "rooms" / "one.yaml", shared)
    catalogs.written(tmp_path / "rooms" / "other.yaml", shared | {"source": {"type": "kafka", "topic": "b"}})
    found = catalogs.read(tmp_path)
    assert found.pipeline("one").contracts == found.pipeline("other").contracts
    assert found.contracts["rooms"].column("stuffy").set
    catalogs.written(tmp_path / "rooms" / "other.yaml", shared | {"steps": []})
    (broken,) = catalog.read_directories((tmp_path,)).broken
    assert "its steps set other columns of rooms than one's: let both set the same." in broken.why
    catalogs.written(tmp_path / "rooms" / "one.yaml", shared | {"steps": [{"set": {"stufy": "co2"}}]})
    catalogs.written(tmp_path / "rooms" / "other.yaml", shared | {"source": {"type": "kafka", "topic": "b"}})
    one_alone = catalog.read_directories((tmp_path,))
    assert [each.path.stem for each in one_alone.broken] == ["one"]
    assert one_alone.pipeline("other").contracts["rooms"].column("stuffy").set


def test_the_documentation_shows_a_pipeline_that_works(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "steps.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example
    catalogs.written(tmp_path / "rooms" / "pipeline.yaml", example[1])
    shown = catalogs.read(tmp_path).pipeline("rooms")
    said = json.dumps({"at": AT, "temperature": 25, "humidity": 60, "co2": 1200}).encode()
    frame = pl.DataFrame([("rooms/r1/climate", said)], MESSAGE_SCHEMA, orient="row")
    batch = RawBatch(dataset="mqtt:rooms/+/climate", messages=frame, received_at=NOW, received_until=NOW)
    (row,) = shown.refine()(batch, Reference(frames={})).accepted["rooms"].iter_rows(named=True)
    assert (row["room"], row["stuffy"], round(row["dew_point"], 1)) == ("r1", True, 16.7)
    steps = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert steps == set(STEPS)


COLUMNS = ("a", "b", "text", "flag")
TAKEN = {
    "a + b * 2 - a / 4": 4.0,
    "CASE WHEN a > 1 THEN 'much' ELSE 'little' END": "much",
    "COALESCE(NULLIF(text, 'x'), 'none')": "none",
    "a BETWEEN 1 AND 3 AND NOT flag": True,
    "text IN ('x', 'y') OR text IS NULL": True,
    "text LIKE 'x%'": True,
    "UPPER(text)": "X",
    "ROUND(a / 3, 2)": 0.67,
    "REGEXP_LIKE(text, '^[xy]$')": True,
    "a / (b - 1.25) > 100": True,
    "ABS(-a)": 2.0,
    "CAST(a AS TEXT)": "2.0",
    "TRY_CAST(text AS DOUBLE)": None,
    "TRY_CAST(REPLACE('23,5', ',', '.') AS DOUBLE)": 23.5,
    "text ILIKE 'X'": True,
    "STARTS_WITH(text, 'x')": True,
    "FLOOR(-a / 3) + CEIL(b) + SQRT(4) + EXP(0) + LN(1) + POWER(a, 3)": 12.0,
    "GREATEST(a, b) - LEAST(a, b)": 0.75,
    "LOWER(CONCAT(UPPER(text), TRIM('  y '))) || SUBSTRING('abc', 2, 1)": "xyb",
    "LENGTH(text)": 1,
    "-7 % 2 + 0 * a": -1.0,
    "ROUND(a + 0.5)": 2.0,
    "ROUND(2.5)": 2.0,
    "GREATEST(NULLIF(a, 2), 0.5)": 0.5,
    "CONCAT(NULLIF(text, 'x'), 'y')": "y",
    "LENGTH(text) - 5": -4,
    "CASE WHEN a > 1 THEN 2000000000 ELSE 0 END * 2": 4_000_000_000,
    "POWER(2, 0.5) * POWER(2, 0.5) > 1.9": True,
    "a / 3 / 7 = 2.0 / 3 / 7": True,
    "flag IS NULL OR a <> 2": False,
    "a * 10 >= 20 AND NOT (b <= 1 OR b = 7)": True,
}


@pytest.mark.parametrize(("said", "value"), TAKEN.items())
def test_what_is_taken_is_computed(said: str, value: object) -> None:
    row = pl.DataFrame({"a": [2.0, 2.0], "b": [1.25, 1.25], "text": ["x", "x"], "flag": [False, False]})
    assert row.with_columns(pl.lit(1.0).alias(ONE)).select(expression(said, COLUMNS)).to_series()[0] == value


@pytest.mark.parametrize(
    "said",
    [
        "SUM(a)",
        "a > AVG(b)",
        "COUNT(*)",
        "a > (SELECT 1)",
        "a IN (SELECT b FROM read_csv('/etc/passwd'))",
        "ROW_NUMBER() OVER ()",
        "LAG(a) OVER (ORDER BY b)",
        "UNNEST(text)",
        "NOW()",
        "CURRENT_TIMESTAMP",
        "RANDOM()",
        "COLUMNS('a.*')",
        "*",
        "FIRST_VALUE(a)",
        "SELECT a",
    ],
)
def test_what_looks_at_more_than_its_record_is_refused(said: str) -> None:
    with pytest.raises(ContractError, match=r"is not taken: docs/steps\.md says what is"):
        expression(said, COLUMNS)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "is no expression"),
        ("a >", "is no expression"),
        ("text = 'x", "is no expression"),
        ("(" * 999, "is no expression"),
        ("a; b", "is not taken"),
        ("a AS c", "is not taken"),
        ("a > 1 -- as measured", "write a comment beside"),
        ("t.a", "there is no column t.a to be read here"),
        ("CAST(text AS DOUBLE)", "write TRY_CAST"),
        ("TRY_CAST(text AS FLOAT)", "choose from DOUBLE, BIGINT and TEXT"),
        ("CAST(a AS DECIMAL(99,9)) > 1", "choose from DOUBLE, BIGINT and TEXT"),
        ("TRY_CAST(text AS TIMESTAMPTZ)", "choose from DOUBLE, BIGINT and TEXT"),
        ("9223372036854775808 + 1", "has more than 64 bits"),
        ("REGEXP_LIKE(text, text)", "REGEXP_LIKE takes a column and a pattern in quotes"),
        ("REGEXP_LIKE(text, 'X', 'i')", "REGEXP_LIKE takes a column and a pattern in quotes"),
        ("SUBSTRING(text, 1, a)", "SUBSTRING takes where it begins"),
        ("flag IS TRUE", "IS asks for NULL"),
        ("NOT " * 400 + "flag", "is no expression"),
        ("a > '\ud800'", "is no expression"),
        ("text::bigint", "write TRY_CAST"),
        ("+".join(["a"] * 200), "has more than 300 parts"),
        (" + ".join(["a"] * 501), "has more than 2,000 characters"),
    ],
)
def test_what_is_no_expression_is_refused(said: str, why: str) -> None:
    with pytest.raises(ContractError, match=re.escape(why)):
        expression(said, COLUMNS)


def test_the_last_bit_does_not_depend_on_the_size_of_the_batch(tmp_path: Path) -> None:
    said = [
        "a / k",
        "a / (k * 2)",
        "a / COALESCE(k, 3)",
        "a / COALESCE(3, k)",
        "a / CASE WHEN a > 0 THEN 7 ELSE 7 END",
        "a / 3 / 7",
        "POWER(a, k)",
        "a % 0.7 + EXP(a / 50) - LN(ABS(a) + 1) * SQRT(ABS(a))",
    ]
    steps = {f"f{number}": each for number, each in enumerate(said)}
    columns = {
        "room": {"type": "text"},
        "at": {"type": "timestamp"},
        "a": {"type": "float"},
        "k": {"type": "float", "constant": 3.0},
        **{name: {"type": "float"} for name in steps},
    }
    written(tmp_path, table={**ROOM["table"], "columns": columns}, steps=[{"set": steps}])
    pipeline = catalogs.read(tmp_path).pipeline("rooms")
    records = [{"a": (number - 30) * 1.61803398875} for number in range(67)]
    together = refined(pipeline, *records).accepted["rooms"].sort("room").select(*steps).rows()
    assert [value for row in together for value in row if value is None] == []
    for record, row in zip(records, together, strict=True):
        alone = refined(pipeline, record).accepted["rooms"].select(*steps).row(0)
        assert dict(zip(said, alone, strict=True)) == dict(zip(said, row, strict=True))


SHOP: dict[str, Any] = {
    "name": "rooms",
    "key": ["room", "at"],
    "time": "at",
    "columns": {
        "room": {"type": "text"},
        "at": {"type": "timestamp"},
        "net": {"type": "decimal", "precision": 12, "scale": 2},
        "rate": {"type": "decimal", "precision": 5, "scale": 4},
        "count": {"type": "integer"},
        "set": {"type": "decimal", "precision": 14, "scale": 6},
    },
}


def shop(tmp_path: Path, said: str, kind: dict[str, Any]) -> Pipeline:
    columns = {**SHOP["columns"], "set": kind}
    written(tmp_path, table={**SHOP, "columns": columns}, steps=[{"set": {"set": said}}])
    return catalogs.read(tmp_path).pipeline("rooms")


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("net", "9999999999.990000"),
        ("net * 0", "0.000000"),
        ("net - 9999999999 + rate", "1.060000"),
        ("(net - 9999999000) * rate", "69.999300"),
        ("count", "3.000000"),
        ("-rate * count", "-0.210000"),
        ("COALESCE(NULLIF(net, 9999999999.99), rate)", "0.070000"),
        ("CASE WHEN net = 9999999999.99 AND rate < 1 THEN rate ELSE net END", "0.070000"),
        ("GREATEST(rate, 0)", "0.070000"),
        ("ABS(rate - 1)", "0.930000"),
        ("ROUND(rate - 1, 1)", "-0.900000"),
        ("NULL", None),
    ],
)
def test_decimals_are_computed_exactly(tmp_path: Path, said: str, value: str | None) -> None:
    kind = SHOP["columns"]["set"] | {"precision": 16}
    found = refined(shop(tmp_path, said, kind), *[{"net": "9999999999.99", "rate": 0.07, "count": 3}] * 3)
    assert found.accepted["rooms"]["set"].cast(pl.String).to_list() == [value] * 3


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("ROUND(net / 3)", "gives a number, and the column is decimal"),
        ("net * 1.5", "gives a number, and the column is decimal: what divides or rounds is computed with"),
        (
            "net * rate * rate",
            "gives 10 digits after the point, and the column has 6: give it a larger `scale`",
        ),
        ("room", "gives text, and the column is decimal"),
        ("net > 1", "gives a truth value, and the column is decimal"),
        ("LENGTH(net)", "cannot be computed"),
    ],
)
def test_what_would_be_rounded_is_set_to_no_decimal(tmp_path: Path, said: str, why: str) -> None:
    written(tmp_path, table=SHOP, steps=[{"set": {"set": said}}])
    assert why in catalogs.why_not(tmp_path)


def test_a_float_of_decimals_does_not_depend_on_the_size_of_the_batch(tmp_path: Path) -> None:
    said = ["net / 3", "net * 1.5 / rate", "SQRT(net) % 0.7", "net"]
    steps = {f"f{number}": each for number, each in enumerate(said)}
    columns = {**SHOP["columns"], **{name: {"type": "float"} for name in steps}}
    written(tmp_path, table={**SHOP, "columns": columns}, steps=[{"set": steps}])
    pipeline = catalogs.read(tmp_path).pipeline("rooms")
    records = [{"net": f"{number * 1.6180:.2f}", "rate": 0.07} for number in range(67)]
    together = refined(pipeline, *records).accepted["rooms"].sort("room").select(*steps).rows()
    for record, row in zip(records, together, strict=True):
        alone = refined(pipeline, record).accepted["rooms"].select(*steps).row(0)
        assert dict(zip(said, alone, strict=True)) == dict(zip(said, row, strict=True))
    assert [row[0] for row in together] == [float(record["net"]) / 3 for record in records]  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["net * 100000", "count * 1000000000000"])
def test_what_has_too_many_digits_when_it_is_computed_fails(tmp_path: Path, said: str) -> None:
    """Where it is one record alone, it is rejected as `transform.failed`."""
    pipeline = shop(tmp_path, said, SHOP["columns"]["set"])
    assert refined(pipeline, {"net": 0, "count": 0}).read == 1
    with pytest.raises(TransformError):
        refined(pipeline, {"net": "9999999999.99", "count": 3})


def test_a_key_that_is_set_is_not_told_of_a_record_that_breaks_a_rule_before(tmp_path: Path) -> None:
    columns = {**ROOM["table"]["columns"], "kind": {"type": "text"}, "co2": {"type": "float", "maximum": 10}}
    table = {**ROOM["table"], "columns": columns, "key": ["room", "kind", "at"]}
    steps = [*ROOM["steps"], {"set": {"kind": "CASE WHEN co2 > 1 THEN 'hi' END"}}]
    written(tmp_path, table=table, steps=steps)
    found = refined(
        catalogs.read(tmp_path).pipeline("rooms"), {"co2": 50}, {"co2": 5, "humidity": 1}, {"co2": 0}
    )
    assert found.rejected.sort("sequence").select("rules", "key").rows()[0] == (["co2.range"], None)
    assert found.accepted["rooms"]["kind"].to_list() == ["hi"]
    assert "kind.required" in found.rejected["rules"].to_list()[1]


def test_a_broken_expression_leaves_out_its_own_pipeline_alone(tmp_path: Path) -> None:
    written(tmp_path)
    for number, said in enumerate(("co2 = 'x", "(" * 300, "NOT " * 400 + "stuffy", "co2 > '\ud800'")):
        own = {
            **ROOM,
            "table": {**ROOM["table"], "name": f"bad{number}"},
            "steps": [{"set": {"stuffy": said}}],
        }
        catalogs.written(tmp_path / f"bad{number}" / "pipeline.yaml", own)
    found = catalog.read_directories((tmp_path,))
    assert sorted(each.name for each in found.broken) == ["bad0", "bad1", "bad2", "bad3"]
    assert found.pipeline("rooms").sets


def test_every_function_of_the_documentation_is_tried() -> None:
    text = (Path(__file__).parents[3] / "docs" / "steps.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([A-Z_]{2,})`", text.partition("## Expressions")[2]))
    tried = set(re.findall(r"[A-Z_]{2,}", " ".join(TAKEN)))
    assert listed - tried == set()
