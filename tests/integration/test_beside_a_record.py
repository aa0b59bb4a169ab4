"""When a record came, the whole way: stored, delivered again, made again from its bytes, judged again."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows.process import stores
from infra.local.addresses import Address
from tasks.batch import MESSAGE_SCHEMA, RawBatch
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
BOXES = """
doc: Boxes.
owner: lab
source: {type: mqtt, topic: "boxes/{box}"}
table:
  name: boxes
  key: [box, at]
  time: at
  columns:
    box: {type: text, from: {topic: box}}
    at: {type: timestamp}
    celsius: {type: float, maximum: 60}
    came: {type: timestamp, from: {received: time}}
    late: {type: boolean}
steps:
  - set:
      late: came > at
"""


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        catalogs.written(house.pipelines / "boxes" / "pipeline.yaml", BOXES)
        await stores.prepare_each(house.settings, [house.catalog.contracts["boxes"]])
        yield house


def a_batch(at: datetime, *records: tuple[str, float]) -> RawBatch:
    messages = [
        (f"boxes/{box}", json.dumps({"at": "2026-11-21T10:00:00Z", "celsius": celsius}).encode())
        for box, celsius in records
    ]
    frame = pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row")
    return RawBatch(dataset="mqtt:boxes/+", messages=frame, received_at=at, received_until=at)


async def rows(house: House) -> list[tuple[Any, ...]]:
    query = "SELECT box, celsius, came, late FROM boxes ORDER BY box"
    return [tuple(row) for row in await house.connection.fetch(query)]


async def test_a_record_keeps_the_time_at_which_it_first_came(house: House) -> None:
    first = await house.take(a_batch(NOW, ("a", 21.5), ("b", 70)), "boxes")
    again = await house.take(
        replace(a_batch(NOW + HOUR, ("a", 21.5), ("b", 70), ("c", 5)), may_repeat=True), "boxes"
    )
    assert (first.accepted, first.rejected) == ({"boxes": 1}, 1)
    assert (again.accepted, again.rejected, again.duplicates) == ({"boxes": 1}, 0, 2)
    stored = [("a", 21.5, NOW, True), ("c", 5.0, NOW + HOUR, True)]
    assert await rows(house) == stored
    for batch in (first.batch, again.batch):
        await house.reprocess(batch)
    assert await rows(house) == stored
    assert await house.value("SELECT count(*) FROM store.boxes_history") == 0
    proof = await house.prove()
    assert (proof.differences, proof.from_bytes and proof.from_bytes.rows) == ((), 2)


async def test_what_was_rejected_came_when_it_came(house: House) -> None:
    await house.take(a_batch(NOW, ("b", 70)), "boxes")
    assert await house.value("SELECT rules FROM rejected") == ["celsius.range"]
    warmer = BOXES.replace("maximum: 60", "maximum: 80")
    catalogs.written(house.pipelines / "boxes" / "pipeline.yaml", warmer)
    await house.replay()
    assert await rows(house) == [("b", 70.0, NOW, True)]
    assert (await house.prove()).differences == ()


async def test_the_lineage_of_the_column_is_recorded(house: House) -> None:
    await house.take(a_batch(NOW, ("a", 21.5)), "boxes")
    query = (
        "SELECT source_key FROM lineage_log WHERE relationship_type = 'DERIVES' "
        "AND target_key = $1 AND facts->>'direct' IS NOT NULL"
    )
    for column, sources in (("came", {"message.received_at"}), ("late", {"message.received_at", "at"})):
        found = await house.connection.fetch(query, f"postgres:boxes.{column}")
        assert {row["source_key"] for row in found} == {f"mqtt:boxes/+.{source}" for source in sources}


async def test_a_forged_time_of_arrival_does_not_follow_from_its_batch(house: House) -> None:
    await house.take(a_batch(NOW, ("a", 21.5)), "boxes")
    await house.forge("UPDATE store.boxes SET came = came - interval '1 day'")
    (said,) = (await house.prove()).differences
    assert "came" in said
