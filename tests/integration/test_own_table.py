"""A source we never heard of: one YAML file and a contract, and its records are stored, judged and traced."""

import json
import re
from pathlib import Path

import pytest

from flows import catalog
from flows.acts.recall import Order, recalled
from flows.acts.replay import replay
from flows.catalog import Pipeline
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from infra.settings import load
from lineage.errors import ContractError
from tasks.again.recall import Selection
from tasks.contract import Contract
from tasks.look.rejected_queries import Which
from tests.fixtures import catalogs
from tests.fixtures.listening import Listeners
from tests.fixtures.waiting import until_stored

CONTRACT = """
name: power_readings
key: [meter, at]
time: at
columns:
  meter: {type: text}
  at: {type: timestamp}
  watts: {type: float, minimum: 0}
  place: {type: text, doc: said by the meter}
  source_name: {type: text, doc: said by the meter}
"""
PIPELINE = """
doc: Meters of a building.
owner: facilities
source: {type: mqtt, topic: power/#}
transform: readings
tables: [{name: power_readings}]
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """The path of the pipeline's file, in a folder of its own."""
    catalogs.written(tmp_path / "own" / "power" / "tables" / "power_readings.yaml", CONTRACT)
    return catalogs.written(tmp_path / "own" / "power" / "power.yaml", PIPELINE)


def load_pipeline(path: Path) -> Pipeline:
    """As whoever starts a process reads it."""
    return catalog.read_directories((path.parents[1],)).pipeline(path.stem)


def contract_of(pipeline: Path) -> Path:
    return pipeline.parent / "tables" / "power_readings.yaml"


def of_meter(watts: float) -> bytes:
    said = '"place": "cellar", "source_name": "own word"'
    return f'{{"meter": "m1", "at": "2026-11-21T08:00:00Z", "watts": {watts}, {said}}}'.encode()


async def test_its_records_are_stored_as_they_came_and_judged_by_its_contract(
    listeners: Listeners, connection: Connection, pipeline: Path
) -> None:
    async with listeners.run(load_pipeline(pipeline)), Publisher(listeners.broker) as publisher:
        await publisher.publish_many([("power/cellar", of_meter(40.5)), ("power/cellar", of_meter(-1))])
        await until_stored(connection, "SELECT sum(read)::bigint FROM ledger", 2)
    rows = await connection.fetch("SELECT meter, watts, place, source_name FROM power_readings")
    assert [tuple(row) for row in rows] == [("m1", 40.5, "cellar", "own word")]
    assert await connection.fetchval("SELECT rules FROM rejected") == ["watts.range"]
    edges = await connection.fetchval("SELECT count(*) FROM lineage_log WHERE batch = 1")
    assert edges > 2


WEATHER = """
key: [box, at]
time: at
columns:
  box: {type: text}
  at: {type: timestamp}
  temperature: {type: float, unit: °C}
  humidity: {type: float, unit: "%"}
  latitude: {type: float}
  longitude: {type: float}
  dew_point: {type: float, unit: °C, maximum: 10, doc: as the box measured it}
  country: {type: text, doc: as the box says}
  country_right: {type: text, doc: as the box says}
  heat_index: {type: float, unit: °C}
  place: {type: text}
"""
STEPS = """
steps:
  - weather: {add: [heat_index], temperature: temperature, humidity: humidity}
  - place: {add: {place: city}, latitude: latitude, longitude: longitude}
"""
SOURCES = {
    "mqtt": "{type: mqtt, topic: tele/#}",
    "files": "{type: files, folder: weather, pattern: '*', archive: weather-archive}",
}


def measured(minute: int, dew_point: float) -> str:
    said = {"box": "b1", "at": f"2026-11-21T08:{minute:02}:00Z", "dew_point": dew_point}
    where = {"latitude": 52.52, "longitude": 13.4, "country": "DDR", "country_right": "none"}
    return json.dumps({**said, **where, "temperature": 21.4, "humidity": 44.1})


def of_weather(pipeline: Path, source: str) -> Path:
    """The folder with that table alone; returns the pipeline's file."""
    contract_of(pipeline).unlink()
    pipeline.unlink()
    catalogs.written(pipeline.parent / "tables" / "weather.yaml", WEATHER)
    text = PIPELINE.replace("{type: mqtt, topic: power/#}", source)
    return catalogs.written(
        pipeline.with_name("weather.yaml"), text.replace("power_readings", "weather") + STEPS
    )


@pytest.mark.parametrize("way", SOURCES)
async def test_a_measured_value_is_stored_and_traced_as_measured(
    listeners: Listeners, connection: Connection, pipeline: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    files = pipeline.parents[2] / "files"
    monkeypatch.setenv("HEADWATER_FILES", str(files))
    file = of_weather(pipeline, SOURCES[way])
    records = [measured(1, 8.7), measured(2, 11.5)]
    if way == "files":
        (files / "weather").mkdir(parents=True)
        (files / "weather" / "day.ndjson").write_text("\n".join(records) + "\n")
    async with listeners.run(load_pipeline(file)):
        if way == "mqtt":
            async with Publisher(listeners.broker) as publisher:
                await publisher.publish_many([("tele/b1", record.encode()) for record in records])
        await until_stored(connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", 2)
    query = "SELECT dew_point, country, country_right, round(heat_index), place FROM weather ORDER BY at"
    as_measured = (8.7, "DDR", "none", 21, "Mitte")
    assert [tuple(row) for row in await connection.fetch(query)] == [as_measured]
    source = await connection.fetchval("SELECT DISTINCT dataset FROM raw_batches")
    derives = await connection.fetch(
        "SELECT source_key FROM lineage_log WHERE relationship_type = 'DERIVES' "
        "AND target_key = 'postgres:weather.dew_point' AND facts->>'direct' IS NOT NULL"
    )
    assert [row["source_key"] for row in derives] == [f"{source}.dew_point"]

    loosened = WEATHER.replace("maximum: 10", "maximum: 50") + "version: 2\n"
    catalogs.written(pipeline.parent / "tables" / "weather.yaml", loosened)
    settings, known = (
        load(home=listeners.home, postgres_dsn=listeners.dsn),
        catalogs.read(pipeline.parents[1]),
    )
    replayed = await replay(settings, known, Which(), dry_run=False, tell=lambda _done, _of: None)
    assert replayed["accepted"] == 1
    order = Order(kinds=["reprocess"], reason="a test", by_whom="ada", apply=True)
    outcome = await recalled(settings, known, Selection(batch=1), order)
    assert not outcome.changes["weather"].any
    assert [tuple(row) for row in await connection.fetch(query)] == [as_measured, (11.5, *as_measured[1:])]


def test_what_nobody_derives_is_refused_and_told_how_to_be_set(pipeline: Path) -> None:
    derived = CONTRACT.replace(
        "place: {type: text, doc: said by the meter}", "place: {type: text, derived: true}"
    )
    contract_of(pipeline).write_text(derived)
    why = "place is `derived`, and readings derives none: leave `derived` out, and let a step set it"
    with pytest.raises(ContractError, match=re.escape(why)):
        load_pipeline(pipeline)


def test_a_source_name_that_does_nothing_is_refused(pipeline: Path) -> None:
    pipeline.write_text(PIPELINE + "source_name: building\n")
    why = """leave it out, and say `- set: {source_name: "'building'"}` in `steps`"""
    with pytest.raises(ContractError, match=re.escape(why)):
        load_pipeline(pipeline)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "name: power_readings",
            "name: power",
            "it is the table power: name the file power.yaml, or leave `name` out of it.",
        ),
        (
            "time: at",
            "time: at\non_return: recompute",
            "a table with `on_return: recompute` is derived: put it into `derived/`.",
        ),
        ("watts: {", "batch: {", "line 8, column 10: batch is a column of ours"),
    ],
)
async def test_a_contract_that_is_refused_stops_its_own_listener_alone(
    listeners: Listeners, connection: Connection, pipeline: Path, old: str, new: str, said: str
) -> None:
    bad = contract_of(pipeline)
    bad.write_text(CONTRACT.replace(old, new))
    bad.with_name("good.yaml").write_text(CONTRACT.replace("power_readings", "good"))
    other = pipeline.with_name("other.yaml")
    other.write_text(PIPELINE.replace("power_readings", "good"))
    async with listeners.run(load_pipeline(other)), Publisher(listeners.broker) as publisher:
        with pytest.raises(ContractError, match=r"Pipeline power is broken: .* no table power_readings"):
            load_pipeline(pipeline)
        broken = catalog.read_directories((pipeline.parents[1],)).broken
        assert [each.path for each in broken] == [bad, pipeline]
        assert said in broken[0].why
        await publisher.publish_many([("power/cellar", of_meter(40.5))])
        await until_stored(connection, "SELECT count(*) FROM good", 1)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("about: {kind: device, column: metre}", "that table has no such column of type text"),
        ("about: {kind: device, column: watts}", "that table has no such column of type text"),
        ("uses: {labware: meter}", "that table has no such column of type json"),
    ],
)
def test_a_pipeline_names_columns_that_are_there(pipeline: Path, about: str, said: str) -> None:
    pipeline.write_text(PIPELINE.replace("name: power_readings", f"name: power_readings, {about}"))
    with pytest.raises(ContractError, match=said):
        load_pipeline(pipeline)


@pytest.fixture
def about_places(pipeline: Path) -> Path:
    about = "name: power_readings, about: {kind: device, column: place}"
    pipeline.write_text(PIPELINE.replace("name: power_readings", about))
    return pipeline


async def test_a_row_about_nobody_is_stored(
    listeners: Listeners, connection: Connection, about_places: Path
) -> None:
    nobody = b'{"meter": "m0", "at": "2026-11-21T08:00:00Z", "watts": 1}'
    async with listeners.run(load_pipeline(about_places)), Publisher(listeners.broker) as publisher:
        await publisher.publish_many([("power/cellar", nobody), ("power/attic", of_meter(2))])
        await until_stored(connection, "SELECT count(*) FROM power_readings", 2)
    assert [row["id"] for row in await connection.fetch("SELECT id FROM store.subjects")] == ["cellar"]


def test_a_contract_tells_what_is_derived() -> None:
    columns = [{"name": "at", "type": "timestamp"}, {"name": "place", "type": "text", "derived": True}]
    contract = Contract.model_validate({"table": "t", "key": ["at"], "time": "at", "columns": columns})
    assert (contract.derived, [column.name for column in contract.inputs]) == (("place",), ["at"])
