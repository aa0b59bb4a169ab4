"""What stands in a topic or a path becomes a column, from the broker or folder to the row and its trace."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows import catalog
from flows.catalog import Pipeline
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from tasks.load.raw import read_raw
from tests.fixtures import catalogs
from tests.fixtures.listening import Listeners
from tests.fixtures.waiting import until_stored

# The pipelines that users are shown lie beside the repository, or not: then ours alone are tried.
SHARED = Path(os.environ.get("HEADWATER_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")).parent
MEASURED = (
    b'{"Time":"2026-11-26T20:11:12","BME280":{"Temperature":21.4,"Humidity":44.1,"DewPoint":8.7,'
    b'"Pressure":1006.2},"TempUnit":"C"}'
)
BOX = """
doc: Boxes.
owner: lab
source: {type: mqtt, topic: "tele/{device}/SENSOR"}
table:
  name: tele_climate
  key: [device, time]
  time: time
  columns:
    device: {type: text, from: {topic: device}}
    time: {type: timestamp, from: Time, zone: Europe/Berlin}
    temperature: {type: float, from: BME280.Temperature}
    dew_point: {type: float, from: BME280.DewPoint}
"""
SERIES = """
doc: Series of a service, one file each.
owner: platform
source:
  type: files
  folder: series
  pattern: "{service:[a-z0-9]+}_{metric}_{resource:[0-9a-f]+}.csv"
table:
  name: exported_metrics
  key: [service, resource, metric, timestamp]
  time: timestamp
  oldest: P20Y
  columns:
    timestamp: {type: timestamp, zone: UTC}
    provider: {type: text, constant: aws}
    service: {type: text, from: {file: service}}
    resource: {type: text, from: {file: resource}}
    metric: {type: text, from: {file: metric}}
    value: {type: float, required: true}
"""


LINES = "timestamp,value\n2014-02-14 14:30:00,0.132\n2014-02-14 14:35:00,0.134\n"
Series = tuple[Pipeline, Path]


def alone(folder: Path, pipeline: str) -> Pipeline:
    """The pipeline of a folder, as whoever starts a process reads it."""
    found = catalog.read_directories((folder,))
    assert found.broken == ()
    return found.pipeline(pipeline)


def ours_and(example: str) -> list[str]:
    """Whose pipelines are tried: ours, and the one that users are shown where it can be had."""
    return ["ours", *(["shown"] if (SHARED / "examples" / example).is_dir() else [])]


@pytest.fixture(params=ours_and("tele"))
def tele(request: pytest.FixtureRequest, tmp_path: Path) -> Pipeline:
    if request.param == "ours":
        catalogs.written(tmp_path / "own" / "tele" / "pipeline.yaml", BOX)
    else:
        shutil.copytree(SHARED / "examples" / "tele", tmp_path / "own" / "tele")
    return alone(tmp_path / "own", "tele")


@pytest.fixture(params=ours_and("cloudwatch"))
def series(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Series:
    """A pipeline of files and the folder that holds them."""
    monkeypatch.setenv("HEADWATER_FILES", str(tmp_path / "files"))
    if request.param == "shown":
        files = shutil.copytree(SHARED / "data" / "cloudwatch", tmp_path / "files" / "cloudwatch")
        shutil.copytree(SHARED / "examples" / "cloudwatch", tmp_path / "own" / "cloudwatch")
        return alone(tmp_path / "own", "cloudwatch"), files
    files = tmp_path / "files" / "series"
    files.mkdir(parents=True)
    for name in ("ec2_cpu_utilization_5f5533", "elb_request_count_8c0756"):
        (files / f"{name}.csv").write_text(LINES)
    catalogs.written(tmp_path / "own" / "series" / "pipeline.yaml", SERIES)
    return alone(tmp_path / "own", "series"), files


async def test_a_level_of_a_topic_is_stored_and_what_does_not_fit_is_kept(
    listeners: Listeners, connection: Connection, tele: Pipeline
) -> None:
    async with listeners.run(tele), Publisher(listeners.broker) as publisher:
        await publisher.publish_many(
            [("tele/box1/SENSOR", MEASURED), ("tele/box 2/SENSOR", MEASURED), ("tele//SENSOR", MEASURED)]
        )
        await until_stored(connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", 3)
    rows = await connection.fetch("SELECT device, time, temperature, dew_point FROM tele_climate ORDER BY 1")
    at = datetime(2026, 11, 26, 19, 11, 12, tzinfo=UTC)
    assert [tuple(row) for row in rows] == [("box 2", at, 21.4, 8.7), ("box1", at, 21.4, 8.7)]
    told = "SELECT rules, location, sequence, coalesce(raw_batch, batch) AS raw FROM rejected"
    (bad,) = await connection.fetch(told)
    assert (bad["rules"], bad["location"]) == (["topic.pattern", "device.required"], "tele//SENSOR")
    kept = await read_raw(connection, bad["raw"])
    assert kept.batch.messages["payload"][bad["sequence"]] == MEASURED
    derives = await connection.fetch(
        "SELECT source_key, target_key FROM lineage_log WHERE relationship_type = 'DERIVES' "
        "AND target_key = 'postgres:tele_climate.device' AND facts->>'direct' IS NOT NULL"
    )
    assert [row["source_key"] for row in derives] == ["mqtt:tele/+/SENSOR.message.location"]


async def test_parts_of_paths_are_stored_of_every_file(
    listeners: Listeners, connection: Connection, series: Series
) -> None:
    pipeline, folder = series
    lines = {path.stem: len(path.read_text().splitlines()) - 1 for path in folder.glob("*.csv")}
    async with listeners.run(pipeline):
        await until_stored(
            connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", sum(lines.values())
        )
    name = "service || '_' || metric || '_' || resource"
    query = f"SELECT {name} AS name, count(*) FROM exported_metrics GROUP BY 1"
    assert {row["name"]: row["count"] for row in await connection.fetch(query)} == lines
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0


async def test_a_file_whose_path_does_not_fit_is_rejected(
    listeners: Listeners, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_FILES", str(tmp_path / "files"))
    catalogs.written(tmp_path / "own" / "series" / "pipeline.yaml", SERIES)
    inbox = tmp_path / "files" / "series"
    inbox.mkdir(parents=True)
    (inbox / "ec2_cpu_utilization_5f5533.csv").write_text(LINES)
    (inbox / "ec2_cpu_utilization_main.csv").write_text(LINES)
    async with listeners.run(alone(tmp_path / "own", "series")):
        await until_stored(connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", 4)
    rows = await connection.fetch("SELECT DISTINCT provider, service, metric, resource FROM exported_metrics")
    assert [tuple(row) for row in rows] == [("aws", "ec2", "cpu_utilization", "5f5533")]
    assert await connection.fetchval("SELECT sum(value) FROM exported_metrics") == pytest.approx(0.266)
    rejected = await connection.fetch("SELECT rules, location FROM rejected ORDER BY location")
    assert [row["rules"][0] for row in rejected] == ["file.pattern", "file.pattern"]
    assert {row["location"].partition(":")[0] for row in rejected} == {"ec2_cpu_utilization_main.csv"}
