"""The step `place`, and look-ups in the device register, in a folder of a user's own."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.catalog import Pipeline
from lineage.columns import Kind, Subtype
from tasks.batch import MESSAGE_SCHEMA, RawBatch, Reference, Refined
from tasks.transform.place import libraries
from tasks.transform.steps.lookup import DEVICES
from tests.fixtures import catalogs

NOW = datetime(2026, 11, 26, 20, tzinfo=UTC)
BERLIN, SYDNEY, AT_SEA = (52.52, 13.405), (-33.869, 151.209), (0.0, -30.0)
VANS: dict[str, Any] = {
    "doc": "Vans.",
    "owner": "me",
    "source": {"type": "kafka", "topic": "vans"},
    "table": {
        "name": "vans",
        "key": ["van", "at"],
        "time": "at",
        "columns": {
            "van": {"type": "text"},
            "at": {"type": "timestamp"},
            "lat": {"type": "float", "unit": "°"},
            "lon": {"type": "float"},
            "home": {"type": "integer"},
            "town": {"type": "text"},
            "land": {"type": "text"},
            "region": {"type": "text"},
            "zone": {"type": "text", "one_of": ["Europe/Berlin", "Australia/Sydney"]},
            "driver": {"type": "text"},
        },
    },
    "steps": [
        {
            "place": {
                "latitude": "lat",
                "longitude": "lon",
                "add": {"town": "city", "land": "country", "region": "region", "zone": "time_zone"},
            }
        },
        {"lookup": {"table": "devices", "by": "van", "add": {"driver": "name"}}},
        {"where": "land IS NULL OR land <> 'US'"},
    ],
}
REGISTER = pl.DataFrame([("v0", "ada", "m", "s")], schema=DEVICES.row_schema, orient="row")


def defined(tmp_path: Path, **changes: Any) -> Pipeline:
    catalogs.written(tmp_path / "vans" / "pipeline.yaml", {**VANS, **changes})
    return catalogs.read(tmp_path).pipeline("vans")


def refined(pipeline: Pipeline, *places: tuple[float | None, float | None], register: bool = True) -> Refined:
    said = [
        json.dumps({"van": f"v{number}", "at": "2026-11-26T19:00:00Z", "lat": lat, "lon": lon}).encode()
        for number, (lat, lon) in enumerate(places)
    ]
    batch = RawBatch(
        dataset="kafka:vans",
        messages=pl.DataFrame([("vans[0]@0", each) for each in said], MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
    )
    return pipeline.refine()(batch, Reference(frames={"devices": REGISTER} if register else {}))


def test_any_two_columns_give_columns_of_any_name(tmp_path: Path) -> None:
    vans = defined(tmp_path)
    found = refined(vans, BERLIN, SYDNEY, (None, None), (52.52, None), (95.0, 13.4), (1e300, 0.0))
    rows = found.accepted["vans"].sort("van").select("town", "region", "land", "zone", "driver").rows()
    assert rows[:2] == [
        ("Mitte", "State of Berlin", "DE", "Europe/Berlin", "ada"),
        ("Sydney", "New South Wales", "AU", "Australia/Sydney", None),
    ]
    assert rows[2:] == [(None,) * 5] * 4  # without one of the two, and beyond a pole


def test_what_is_found_keeps_the_rules_of_its_column_and_is_read_by_later_steps(tmp_path: Path) -> None:
    found = refined(defined(tmp_path), AT_SEA, (40.713, -74.006), BERLIN)
    assert found.rejected["rules"].to_list() == [["zone.one_of"]]
    assert (found.filtered_rows["sequence"].to_list(), found.accepted["vans"].height) == ([1], 1)


def test_a_place_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    vans = defined(tmp_path)
    together = refined(vans, BERLIN, SYDNEY).accepted["vans"].filter(van="v0")
    assert refined(vans, BERLIN).accepted["vans"].equals(together)


def test_the_state_of_libraries_and_register_is_told(tmp_path: Path) -> None:
    vans = defined(tmp_path)
    told = refined(vans, BERLIN).looked_up
    assert told is not None
    assert told["library:reverse_geocode"] == libraries()
    assert re.fullmatch("[0-9a-f]{16}", told["postgres:devices"])
    assert refined(vans, BERLIN, register=False).looked_up == {"library:reverse_geocode": libraries()}


def test_the_lineage_leads_to_the_two_columns_the_library_and_the_register(tmp_path: Path) -> None:
    edges = defined(tmp_path).columns("kafka:vans")["vans"]
    direct = {
        (each.target_column, each.source_dataset, each.source_column)
        for each in edges
        if each.kind is Kind.DIRECT
    }
    assert ("town", "library:reverse_geocode", "city") in direct
    assert ("zone", "library:reverse_geocode", "time_zone") in direct
    assert ("driver", "postgres:devices", "name") in direct
    joined = {
        each.source_column for each in edges if each.target_column == "town" and each.subtype is Subtype.JOIN
    }
    assert {"lat", "lon"} <= joined


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (
            {"latitude": "lta"},
            "line 4, column 3: place reads lta, and there is no such column before it: did you mean lat?",
        ),
        ({"longitude": "van"}, "line 4, column 3: place takes van as float in °, and it is text"),
        (
            {"add": {"town": "citty"}},
            "line 8, column 13: steps.0.place.place.add.mapping.town: Input should be 'city',",
        ),
        ({"add": {"home": "city"}}, "place takes home as text, and it is integer"),
        ({"add": {"towm": "city"}}, "a step sets towm, and vans has no such column: did you mean town?"),
        ({"lattitude": "lat"}, "did you mean latitude?"),
    ],
)
def test_what_cannot_be_a_place_is_refused_with_its_line(
    tmp_path: Path, place: dict[str, Any], why: str
) -> None:
    said = {"latitude": "lat", "longitude": "lon", "add": {"town": "city"}, **place}
    table = {**VANS["table"], "columns": {**VANS["table"]["columns"]}}
    steps = {"steps": [{"place": said}]}
    catalogs.written(
        tmp_path / "vans" / "pipeline.yaml",
        {"doc": "Vans.", "owner": "me"} | steps | {**VANS, **steps, "table": table},
    )
    assert why in catalogs.why_not(tmp_path)


@pytest.mark.parametrize(
    ("key", "cause"), [("town", "library:reverse_geocode"), ("driver", "postgres:devices")]
)
def test_what_is_found_is_in_no_key(tmp_path: Path, key: str, cause: str) -> None:
    table = {**VANS["table"], "key": ["van", key, "at"]}
    catalogs.written(tmp_path / "vans" / "pipeline.yaml", {**VANS, "table": table})
    assert f"{key} is set from {cause}, which may change, so it cannot be in the key" in catalogs.why_not(
        tmp_path
    )


def test_the_documentation_shows_a_pipeline_that_works(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "steps.md").read_text(encoding="utf-8")
    example = re.search(r"## Places.*?```yaml\n(.*?)```", text, re.DOTALL)
    assert example
    catalogs.written(tmp_path / "vans" / "pipeline.yaml", example[1])
    shown = catalogs.read(tmp_path).pipeline("vans")
    said = json.dumps({"at": "2026-11-26T19:00:00Z", "lat": 52.52, "lon": 13.405}).encode()
    batch = RawBatch(
        dataset="mqtt:vans/+",
        messages=pl.DataFrame([("vans/v0", said)], MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
    )
    (row,) = (
        shown.refine()(batch, Reference(frames={"devices": REGISTER})).accepted["vans"].iter_rows(named=True)
    )
    assert (row["town"], row["country"], row["driver"], row["source_name"]) == ("Mitte", "DE", "ada", "vans")
