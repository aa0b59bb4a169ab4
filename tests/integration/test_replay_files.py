"""Parts of files that were rejected as a whole, judged again: they wait until they can be read."""

from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from infra.local.addresses import Address
from lineage import naming
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch
from tests.fixtures import catalogs
from tests.fixtures.commit import NOW
from tests.fixtures.from_bytes import House, a_house

GOOD = "a,2026-11-21T08:00:00Z,20.5\nb,2026-11-21T08:00:00Z,21.5\nc,2026-11-21T08:00:00Z,900\n"
OPEN = "SELECT count(*) FROM store.rejected WHERE resolved_by IS NULL"
ROWS = "SELECT count(*) FROM sensor_readings"


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        yield house


def a_part(header: str, layout: Layout, held: str = GOOD) -> RawBatch:
    rows = [("x.csv:1", header.encode()), ("x.csv:2", held.encode())]
    return RawBatch(
        dataset=naming.file("sensors/**/*"),
        messages=pl.DataFrame(rows, MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
        layout=layout,
    )


def read_as(house: House, **columns: str) -> None:
    """Another pipeline: it says what a file's columns are called."""
    path = house.pipelines / "sensors" / "sensors-files.yaml"
    said = yaml.safe_load(path.read_text())
    catalogs.written(path, {**said, "source": {**said["source"], "columns": columns}})


async def test_a_header_that_does_not_fit_yet_waits_and_one_that_fits_is_judged_line_by_line(
    house: House,
) -> None:
    part = a_part("device,timestamps,temperature\n", Layout(format=Format.CSV))
    assert (await house.take(part, "sensors-files")).rejected == 1
    assert await house.value("SELECT rules FROM store.rejected") == ["header.near"]
    assert await house.value("SELECT message FROM store.rejected") == (
        "names in the header look like others, which are not there: 'device' like 'device_id', "
        "'timestamps' like 'timestamp'. Write columns: {'device': device_id, 'timestamps': timestamp} "
        "in the pipeline and replay, or rename them in a file of another name."
    )
    await house.replay()
    assert (await house.value(OPEN), await house.value(ROWS)) == (1, 0)
    read_as(house, device="device_id")  # one of the two
    await house.replay()
    assert (await house.value(OPEN), await house.value(ROWS)) == (1, 0)
    assert await house.value("SELECT array_agg(verdict) FROM store.replays") == ["rejected", "rejected"]
    read_as(house, device="device_id", timestamps="timestamp")
    await house.replay()
    assert (await house.value(OPEN), await house.value(ROWS)) == (1, 2)
    assert await house.value("SELECT rules FROM store.rejected WHERE resolved_by IS NULL") == [
        "temperature.range"
    ]
    proof = await house.prove()
    assert proof.differences == ()


async def test_a_line_that_waits_goes_on_waiting_while_its_header_does_not_fit(house: House) -> None:
    part = a_part("device,timestamp,temperature\n", Layout(format=Format.CSV))
    assert (await house.take(part, "sensors-files")).rejected == 1
    read_as(house, device="device_id")
    await house.replay()
    assert (await house.value(OPEN), await house.value(ROWS)) == (1, 2)
    read_as(house, other="device_id")
    await house.replay()
    assert (await house.value(OPEN), await house.value(ROWS)) == (1, 2)
    read_as(house, device="device_id")
    house.allow(1000)
    await house.replay()
    assert (await house.value(OPEN), await house.value(ROWS)) == (0, 3)
    assert (await house.prove()).differences == ()


@pytest.mark.parametrize(
    ("layout", "rule"),
    [
        (Layout(format=Format.CSV, refused="the file is UTF-16"), "payload.encoding"),
        (Layout(format=Format.PARQUET, refused="the file is not Parquet"), "payload.parquet"),
    ],
)
async def test_what_is_no_file_of_its_format_waits(house: House, layout: Layout, rule: str) -> None:
    assert (await house.take(a_part("", layout, held="x"), "sensors-files")).rejected == 1
    await house.replay()
    assert await house.value(OPEN) == 1
    assert await house.value("SELECT rules FROM store.rejected") == [rule]
    assert (await house.prove()).differences == ()
