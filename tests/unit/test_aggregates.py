"""The definitions of the aggregates."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from flows import catalog
from flows.acts.aggregates import recomputed
from flows.catalog import SHIPPED as FOLDERS
from lineage.bucket import Bucket
from tasks.contract import Contract
from tasks.derived.aggregate import DerivedDefinition
from tests.fixtures import catalogs
from tests.fixtures.catalogs import SHIPPED

HOURLY = "sensor_readings_hourly"
SCHEMA = Path(__file__).parents[2] / "docs" / "derived.schema.json"


def test_every_statement_says_what_it_answers() -> None:
    files = sorted(FOLDERS.glob("*/derived/*.sql"))
    assert sorted(file.stem for file in files) == sorted(SHIPPED.derived)
    for file in files:
        first = file.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("-- ")
        assert first.endswith("?")


def test_a_version_is_of_the_statement_and_not_of_its_comments() -> None:
    hourly = SHIPPED.derived["sensor_readings_hourly"]
    assert "--" not in hourly.sql
    changed = replace(hourly, sql=hourly.sql.replace("avg", "sum", 1))
    assert changed.transformation().id != hourly.transformation().id
    assert SHIPPED.derived["sensor_readings_hourly"].transformation() == hourly.transformation()


def derived(home: Path, **tables: dict[str, Any]) -> Path:
    """The shipped folders, and hourly aggregates that say something else, by their names."""
    room = catalogs.copied(home) / "sensors" / "derived"
    contract = yaml.safe_load((room / f"{HOURLY}.yaml").read_text())
    for name, change in tables.items():
        catalogs.written(room / f"{name}.yaml", {**contract, **change})
        catalogs.written(room / f"{name}.sql", (room / f"{HOURLY}.sql").read_text())
    return home / "pipelines"


def test_any_number_is_made_from_one_table_and_from_one_another(tmp_path: Path) -> None:
    months, days = {"made_from": ["b_daily"], "bucket": "month"}, {"made_from": [HOURLY], "bucket": "day"}
    found = catalogs.read(derived(tmp_path, a_monthly=months, b_daily=days, c_daily={"bucket": "day"}))
    order = list(found.derived)
    assert order.index(HOURLY) < order.index("b_daily") < order.index("a_monthly")
    assert found.derived["b_daily"].made_from[HOURLY] is found.contracts[HOURLY]
    assert found.derived["a_monthly"].bucket is Bucket.MONTH
    assert found.contracts["a_monthly"].partition_by == "month"
    assert "c_daily" in order


def why_none(directory: Path) -> dict[str, str]:
    broken = catalog.read_directories((directory,)).broken
    return {each.name: each.why.replace(str(directory), "").partition(": ")[2] for each in broken}


def test_what_is_made_from_itself_is_refused_with_every_file(tmp_path: Path) -> None:
    one = derived(tmp_path / "one", a={"made_from": ["a"]})
    assert why_none(one) == {"a": "it is made from itself: leave one of these out of `made_from`."}
    two = derived(tmp_path / "two", a={"made_from": ["b"]}, b={"made_from": ["a"]}, c={"made_from": ["b"]})
    said = why_none(two)
    for name, other in (("a", "b"), ("b", "a")):
        assert said[name] == (
            f"it is made from itself by way of /sensors/derived/{other}.yaml: leave one of these out of "
            "`made_from`."
        )
    assert said["c"].startswith("it is made from b, and there is no such table, or its contract is broken: ")


def test_a_bucket_is_as_long_as_those_it_is_made_from(tmp_path: Path) -> None:
    minutes = {"made_from": [HOURLY], "bucket": "15 minutes"}
    assert catalogs.why_not(derived(tmp_path / "short", a=minutes)) == (
        f"its bucket is `15 minutes`, and that of {HOURLY} `hour`: it must be as long, or longer."
    )
    weeks = catalogs.why_not(derived(tmp_path / "week", a={"bucket": "week"}))
    assert "'minute', '5 minutes', '15 minutes', 'hour', 'day' or 'month'" in weeks
    days = catalogs.why_not(derived(tmp_path / "days", a={"bucket": "month", "partition_by": "day"}))
    assert "leave `partition_by` out" in days


def test_what_is_stored_of_a_contract_by_the_hour_is_what_it_was(tmp_path: Path) -> None:
    found = catalogs.read(derived(tmp_path, a={"bucket": "hour"}, b={"bucket": "minute"}))
    assert "bucket" not in found.contracts["a"].model_dump()
    assert found.contracts["b"].model_dump(mode="json")["bucket"] == "minute"
    assert Contract.stored(found.contracts["b"].model_dump_json()) == found.contracts["b"]


def test_the_published_schema_of_derived_tables_is_the_models() -> None:
    write = 'python -c "from tests.unit.test_aggregates import *; SCHEMA.write_text(schema())"'
    assert SCHEMA.read_text(encoding="utf-8") == schema(), f"write it again: {write}"


def schema() -> str:
    return json.dumps(DerivedDefinition.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("bucket", Bucket)
def test_a_bucket_holds_its_start_and_not_its_end(bucket: Bucket) -> None:
    moment = datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    start = bucket.start(moment)
    assert start <= moment < bucket.end(start)
    assert bucket.start(start) == start
    assert bucket.start(bucket.end(start)) == bucket.end(start)
    assert bucket.start(bucket.end(start) - timedelta(microseconds=1)) == start
    assert bucket.start(moment.astimezone(ZoneInfo("Asia/Kolkata"))) == start


def test_a_bucket_is_called_by_what_it_is() -> None:
    moment = datetime(2026, 1, 31, 10, 52, tzinfo=UTC)
    assert [each.label(each.start(moment)) for each in Bucket] == [
        "2026-01-31T10:52Z",
        "2026-01-31T10:50Z",
        "2026-01-31T10:45Z",
        "2026-01-31T10Z",
        "2026-01-31",
        "2026-01",
    ]


def test_one_bucket_is_one_bucket() -> None:
    assert [recomputed(buckets) for buckets in (0, 1, 1_200)] == [
        "Recomputed 0 buckets.",
        "Recomputed 1 bucket.",
        "Recomputed 1,200 buckets.",
    ]
