"""What is measured keeps its value and its lineage, though a step could compute one of its name."""

import json
from datetime import UTC, datetime
from io import BytesIO

import polars as pl
import pytest

from lineage.columns import ColumnEdge, Kind, Subtype
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch, Reference
from tasks.contract import Contract
from tasks.decode.messages import Decoder
from tasks.transform import records
from tasks.transform.steps.kinds import Steps
from tasks.transform.steps.lookup import DEVICES, Lookup, LookupColumns
from tasks.transform.steps.place import Place, PlaceColumns
from tasks.transform.steps.weather import Weather, WeatherColumns

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAMES = ("device_id", "at", "temperature", "humidity", "dew_point", "device_name", "latitude", "longitude")
SAID = ("d1", "2026-11-21T08:00:00Z", 21.4, 44.1, 8.7, "said", 52.52, 13.4)
RECORD = dict(zip(NAMES, SAID, strict=True)) | {"country": "DDR"}
NUMBERS = ("temperature", "humidity", "dew_point", "latitude", "longitude")
CONTRACT = Contract.model_validate(
    {
        "table": "weather",
        "key": ["device_id", "at"],
        "time": "at",
        "columns": [
            *({"name": name, "type": "float"} for name in NUMBERS),
            *({"name": name, "type": "text"} for name in ("device_id", "device_name", "country")),
            {"name": "at", "type": "timestamp"},
            *({"name": name, "type": "text", "set": True} for name in ("device_site", "place")),
            {"name": "heat_index", "type": "float", "set": True},
        ],
    }
)
STEPS = Steps(
    CONTRACT,
    [
        Place(place=PlaceColumns(latitude="latitude", longitude="longitude", add={"place": "city"})),
        Lookup(lookup=LookupColumns(table="devices", by="device_id", add={"device_site": "site"})),
        Weather(weather=WeatherColumns(temperature="temperature", humidity="humidity", add=("heat_index",))),
    ],
)
REGISTER = pl.DataFrame([("d1", "registered", "m", "s")], schema=DEVICES.row_schema, orient="row")


def an_arrow_file() -> bytes:
    file = BytesIO()
    pl.DataFrame([RECORD]).with_columns(pl.col("at").str.to_datetime(time_zone="UTC")).write_ipc(file)
    return file.getvalue()


BATCHES = {
    "mqtt:sensors/+/readings": ([("sensors/d1/readings", json.dumps(RECORD).encode())], None),
    "kafka:weather": ([("weather/0", json.dumps(RECORD).encode())], None),
    "file:weather.ndjson": ([("1", json.dumps(RECORD).encode())], Layout(format=Format.NDJSON)),
    "file:weather.csv": (
        [("1", ",".join(RECORD).encode() + b"\n"), ("2", ",".join(map(str, RECORD.values())).encode())],
        Layout(format=Format.CSV),
    ),
    "file:weather.parquet": ([("1", an_arrow_file())], Layout(format=Format.PARQUET)),
}


@pytest.mark.parametrize("source", BATCHES)
def test_what_is_measured_is_stored_and_what_a_step_sets_is_computed(source: str) -> None:
    messages, layout = BATCHES[source]
    batch = RawBatch(
        dataset=source,
        messages=pl.DataFrame(messages, schema=MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
        layout=layout,
    )
    reference = Reference(frames={"devices": REGISTER})
    refined = records.refine(batch, reference, Decoder(CONTRACT), steps=STEPS)
    assert refined.rejected.is_empty(), refined.rejected["message"].to_list()
    (row,) = refined.accepted["weather"].iter_rows(named=True)
    measured = {name: row[name] for name in ("dew_point", "device_name", "country")}
    assert measured == {"dew_point": 8.7, "device_name": "said", "country": "DDR"}
    assert (row["device_site"], row["place"], round(row["heat_index"])) == ("s", "Mitte", 21)


@pytest.mark.parametrize("source", BATCHES)
def test_the_lineage_of_a_measured_value_leads_to_the_message(source: str) -> None:
    edges = records.columns(CONTRACT, source, steps=STEPS)["weather"]

    def direct(column: str) -> set[tuple[str, str | None]]:
        found = [each for each in edges if each.target_column == column and each.kind is Kind.DIRECT]
        return {(each.source_dataset, each.source_column) for each in found}

    for name in ("dew_point", "device_name", "country"):
        assert direct(name) == {(source, name)}
        assert ColumnEdge(source, name, name, Kind.DIRECT, Subtype.IDENTITY, False) in edges
    assert direct("heat_index") == {(source, "temperature"), (source, "humidity")}
    assert direct("device_site") == {("postgres:devices", "site")}
    assert direct("place") == {("library:reverse_geocode", "city")}
