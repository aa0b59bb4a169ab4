"""Numbers in another unit than their column's, the whole way: stored, made again, stored in yet another."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
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
doc: Climate of rooms, as an American device says it.
owner: facilities
source: {type: mqtt, topic: "rooms/{room}/{level}"}
table:
  name: rooms
  key: [room, at]
  time: at
  columns:
    room: {type: text, from: {topic: room}}
    at: {type: timestamp}
    level: {type: float, unit: m, from: {topic: level}, from_unit: ft}
    temperature: {type: float, unit: °C, from: temp_f, from_unit: °F, maximum: 60}
    warm: {type: boolean}
steps:
  - set:
      warm: temperature > 25
"""


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        catalogs.written(house.pipelines / "rooms" / "pipeline.yaml", ROOMS)
        await stores.prepare_each(house.settings, [house.catalog.contracts["rooms"]])
        yield house


def a_batch(*records: tuple[str, Any]) -> RawBatch:
    messages = [
        (f"rooms/{room}/10", json.dumps({"at": "2026-11-21T10:00:00Z", "temp_f": temperature}).encode())
        for room, temperature in records
    ]
    frame = pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row")
    return RawBatch(dataset="mqtt:rooms/+/+", messages=frame, received_at=NOW, received_until=NOW)


CLIMATE = a_batch(("a", 68), ("b", 98.6), ("c", 150), ("d", None))


async def rows(house: House) -> list[tuple[Any, ...]]:
    query = "SELECT room, temperature, warm, level FROM rooms ORDER BY room"
    return [tuple(row) for row in await house.connection.fetch(query)]


async def test_numbers_are_stored_in_the_unit_of_their_column(house: House) -> None:
    await house.take(CLIMATE, "rooms")
    level = 10 * 0.3048
    assert await rows(house) == [
        ("a", 20.0, False, level),
        ("b", 37.0, True, level),
        ("d", None, None, level),
    ]
    assert await house.value("SELECT rules FROM rejected") == ["temperature.range"]
    again = await house.take(replace(CLIMATE, may_repeat=True), "rooms")
    assert (again.accepted, again.rejected, again.duplicates) == ({"rooms": 0}, 0, 4)
    derives = await house.connection.fetch(
        "SELECT source_key, facts FROM lineage_log WHERE relationship_type = 'DERIVES' "
        "AND target_key = 'postgres:rooms.temperature' AND facts->>'direct' IS NOT NULL"
    )
    assert [row["source_key"] for row in derives] == ["mqtt:rooms/+/+.temp_f"]
    proof = await house.prove()
    assert (proof.differences, proof.from_bytes and proof.from_bytes.rows) == ((), 3)


async def test_another_unit_is_another_version_and_the_same_records(house: House) -> None:
    receipt = await house.take(CLIMATE, "rooms")
    before = house.catalog.pipeline("rooms").transformation().id
    kelvin = ROOMS.replace("unit: °C", "unit: K").replace("maximum: 60", "maximum: 350")
    catalogs.written(
        house.pipelines / "rooms" / "pipeline.yaml", kelvin.replace("temperature > 25", "temperature > 298")
    )
    assert house.catalog.pipeline("rooms").transformation().id != before
    again = await house.take(replace(CLIMATE, may_repeat=True), "rooms")
    assert (again.accepted, again.rejected, again.duplicates) == ({"rooms": 0}, 0, 4)
    await house.replay()
    await house.reprocess(receipt.batch)
    assert [row[:3] for row in await rows(house)] == [
        ("a", pytest.approx(293.15), False),
        ("b", pytest.approx(310.15), True),
        ("c", pytest.approx(338.7055556), True),
        ("d", None, None),
    ]
    assert (await house.prove()).differences == ()


async def test_a_forged_number_does_not_follow_from_what_was_read(house: House) -> None:
    await house.take(CLIMATE, "rooms")
    await house.forge("UPDATE store.rooms SET temperature = 20.000000000000004 WHERE room = 'a'")
    (said,) = (await house.prove()).differences
    assert "temperature" in said
