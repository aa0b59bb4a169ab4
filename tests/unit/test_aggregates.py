"""The definitions of the aggregates."""

from dataclasses import replace
from pathlib import Path

import yaml

from flows.acts.aggregates import recomputed
from flows.catalog import SHIPPED as FOLDERS
from tests.fixtures import catalogs
from tests.fixtures.catalogs import SHIPPED

HOURLY = "sensor_readings_hourly"


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


def test_two_aggregates_do_not_take_each_others_marks(tmp_path: Path) -> None:
    derived = catalogs.copied(tmp_path) / "sensors" / "derived"
    contract = yaml.safe_load((derived / f"{HOURLY}.yaml").read_text())
    catalogs.written(derived / "z_daily.yaml", contract)
    catalogs.written(derived / "z_daily.sql", (derived / f"{HOURLY}.sql").read_text())
    assert catalogs.why_not(tmp_path / "pipelines") == (
        f"sensor_readings is the source of {HOURLY} already, and a table is the source of one."
    )


def test_one_hour_is_one_hour() -> None:
    assert [recomputed(hours) for hours in (0, 1, 1_200)] == [
        "Recomputed 0 hours.",
        "Recomputed 1 hour.",
        "Recomputed 1,200 hours.",
    ]
