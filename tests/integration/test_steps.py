"""Rows of reading rules and steps, the whole way: stored, made again from their bytes, judged again."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.process import stores
from infra.local.addresses import Address
from tasks.batch import MESSAGE_SCHEMA, RawBatch
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROOMS = """
doc: Climate of rooms.
owner: facilities
source: {type: mqtt, topic: "rooms/{room}/climate"}
table:
  name: rooms
  key: [room, at]
  time: at
  columns:
    room: {type: text, from: {topic: room}}
    at: {type: timestamp, from: time, zone: Europe/Berlin}
    temperature: {type: float, unit: °C}
    humidity: {type: float, unit: "%", null_values: [-1]}
    mode: {type: text, map: {A: auto, M: manual}}
    co2: {type: float, unit: ppm}
    kind: {type: text, constant: climate}
    dew_point: {type: float, unit: °C, maximum: 20}
    third: {type: float}
    stuffy: {type: boolean}
steps:
  - weather: {add: [dew_point], temperature: temperature, humidity: humidity}
  - set:
      stuffy: co2 > 1000
      third: co2 / 3
"""


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        catalogs.written(house.pipelines / "rooms" / "pipeline.yaml", ROOMS)
        await stores.prepare_each(house.settings, [house.catalog.contracts["rooms"]])
        yield house


def a_batch(*records: tuple[str, dict[str, Any]]) -> RawBatch:
    messages = [
        (f"rooms/{room}/climate", json.dumps({"time": "2026-11-21T10:00:00", **said}).encode())
        for room, said in records
    ]
    frame = pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row")
    return RawBatch(dataset="mqtt:rooms/+/climate", messages=frame, received_at=NOW, received_until=NOW)


CLIMATE = a_batch(
    ("a", {"temperature": 21.4, "humidity": 44.1, "mode": "A", "co2": 1200.1}),
    ("b", {"temperature": 30, "humidity": 90, "co2": 950}),  # a dew point of 28 °C
    ("c", {"temperature": 20, "humidity": -1, "mode": "M", "co2": 950}),
    ("d", {"mode": "X"}),
    ("a", {"temperature": 21.4, "humidity": 44.1, "mode": "A", "co2": 1200.1}),
)
ROWS = "SELECT room, mode, kind, stuffy, third, round(dew_point::numeric, 2)::text FROM rooms ORDER BY room"


async def rows(house: House) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await house.connection.fetch(ROWS)]


async def test_rows_of_steps_are_made_again_from_their_bytes(house: House) -> None:
    receipt = await house.take(CLIMATE, "rooms")
    assert (receipt.read, receipt.accepted, receipt.rejected, receipt.duplicates) == (5, {"rooms": 2}, 2, 1)
    assert await rows(house) == [
        ("a", "auto", "climate", True, 1200.1 / 3, "8.68"),
        ("c", "manual", "climate", False, 950 / 3, None),
    ]
    broken = await house.connection.fetch("SELECT rules FROM rejected ORDER BY sequence")
    assert [row["rules"] for row in broken] == [["dew_point.range"], ["mode.map"]]
    again = await house.take(CLIMATE, "rooms")
    assert (again.accepted, again.rejected, again.duplicates) == ({"rooms": 0}, 0, 5)
    proof = await house.prove()
    assert proof.differences == ()
    assert proof.from_bytes is not None
    assert proof.from_bytes.rows == 2


async def test_another_step_makes_stored_rows_again_and_judges_what_was_rejected(house: House) -> None:
    receipt = await house.take(CLIMATE, "rooms")
    warmer = ROOMS.replace("maximum: 20", "maximum: 30").replace("co2 > 1000", "co2 > 900")
    catalogs.written(house.pipelines / "rooms" / "pipeline.yaml", warmer)
    await house.reprocess(receipt.batch)
    assert [row[3] for row in await rows(house)] == [True, True]
    assert await house.value("SELECT count(*) FROM store.rooms_history") == 1
    await house.replay()
    assert [(row[0], row[5]) for row in await rows(house)] == [("a", "8.68"), ("b", "28.18"), ("c", None)]
    assert await house.value("SELECT count(*) FROM rejected WHERE resolved_by IS NULL") == 1
    proof = await house.prove()
    assert proof.differences == ()


async def test_a_forged_value_of_a_step_does_not_follow_from_its_bytes(house: House) -> None:
    await house.take(CLIMATE, "rooms")
    await house.forge("UPDATE store.rooms SET third = third + 1 WHERE room = 'a'")
    proof = await house.prove()
    (said,) = proof.differences
    assert "rooms" in said
    assert "third" in said
