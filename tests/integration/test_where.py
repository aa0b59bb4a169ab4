"""What a step leaves out, the whole way: counted, kept apart from what is stored, and judged again."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from console.cli.recall import lines
from flows.acts.recall import Order, Outcome, recalled
from flows.acts.replay import replay
from flows.process import stores
from infra.local.addresses import Address
from tasks.again.recall import Selection
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch, Receipt
from tasks.look.rejected_queries import Which
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROOMS = """
doc: CO2 of rooms.
owner: facilities
source: {type: mqtt, topic: "rooms/{room}/co2"}
table:
  name: rooms
  key: [room, at]
  time: at
  columns:
    room: {type: text, from: {topic: room}}
    at: {type: timestamp, from: time}
    co2: {type: float, unit: ppm, minimum: 0, maximum: 5000}
    mode: {type: text}
    excess: {type: float, maximum: 2000}
steps:
  - where: co2 IS NOT NULL AND COALESCE(mode, 'auto') <> 'test'
  - set:
      excess: co2 - 400
  - where: excess >= 0
"""
ANY = "".join(line for line in ROOMS.splitlines(keepends=True) if "where" not in line)
STRICT = ROOMS.replace("excess >= 0", "excess >= 500")


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        define(house, ROOMS)
        await stores.prepare_each(house.settings, [house.catalog.contracts["rooms"]])
        yield house


def define(house: House, text: str) -> None:
    catalogs.written(house.pipelines / "rooms" / "pipeline.yaml", text)


def a_batch(*records: tuple[str, dict[str, Any]], **changes: Any) -> RawBatch:
    messages = [
        (f"rooms/{room}/co2", json.dumps({"time": "2026-11-21T10:00:00Z", **said}).encode())
        for room, said in records
    ]
    frame = pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row")
    batch = RawBatch(dataset="mqtt:rooms/+/co2", messages=frame, received_at=NOW, received_until=NOW)
    return replace(batch, **changes)


MEASURED = a_batch(
    ("a", {"co2": 600}),
    ("b", {}),
    ("c", {"co2": 300}),
    ("d", {"co2": -5}),  # breaks a rule, and would be filtered
    ("e", {"co2": 1200}),
    ("c", {"co2": 700}),  # the key of one that is filtered
    ("a", {"co2": 600}),
    ("f", {"co2": 4000}),  # breaks a rule of what is set
)
AGAIN = replace(MEASURED, may_repeat=True)


async def rows(house: House) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await house.connection.fetch("SELECT room, co2 FROM rooms ORDER BY room")]


async def filtered(house: House) -> list[int]:
    found = await house.connection.fetch("SELECT sequence FROM filtered ORDER BY sequence")
    return [row["sequence"] for row in found]


async def clean(house: House) -> None:
    proof = await house.prove()
    assert proof.differences == ()


def books(receipt: Receipt) -> tuple[int, int, int, int, int]:
    accepted = sum(receipt.accepted.values())
    return receipt.read, accepted, receipt.rejected, receipt.duplicates, receipt.filtered


async def reprocess(house: House, selection: Selection, *, apply: bool = True) -> Outcome:
    order = Order(kinds=["reprocess"], reason="mended", by_whom="ada", apply=apply)
    return await recalled(house.settings, house.catalog, selection, order)


async def test_what_is_left_out_is_counted_and_takes_no_key(house: House) -> None:
    receipt = await house.take(MEASURED, "rooms")
    assert books(receipt) == (8, 3, 2, 1, 2)
    assert await rows(house) == [("a", 600.0), ("c", 700.0), ("e", 1200.0)]
    assert await filtered(house) == [1, 2]
    broken = await house.connection.fetch("SELECT rules FROM rejected ORDER BY sequence")
    assert [row["rules"] for row in broken] == [["co2.range"], ["excess.range"]]
    edges = await house.connection.fetch(
        "SELECT source_key, target_key FROM lineage_log WHERE target_key LIKE 'postgres:filtered#%' "
        "AND relationship_type = 'FEEDS'"
    )
    number = receipt.batch
    assert [tuple(edge) for edge in edges] == [(f"{receipt.dataset}#{number}", f"postgres:filtered#{number}")]
    derives = await house.connection.fetch(
        "SELECT source_key FROM lineage_log WHERE relationship_type = 'DERIVES' "
        "AND target_key = 'postgres:rooms.room' AND facts->>'indirect' = 'FILTER'"
    )
    assert "mqtt:rooms/+/co2.mode" in {row["source_key"] for row in derives}
    proof = await house.prove()
    assert proof.differences == ()
    assert proof.from_bytes is not None
    assert proof.from_bytes.filtered == 2


async def test_what_was_filtered_stays_so_when_it_comes_again(house: House) -> None:
    await house.take(MEASURED, "rooms")
    assert books(await house.take(AGAIN, "rooms")) == (8, 0, 0, 6, 2)
    await clean(house)
    define(house, ANY)  # would store all of it
    assert books(await house.take(AGAIN, "rooms")) == (8, 0, 0, 6, 2)
    define(house, ROOMS.replace("minimum: 0,", "minimum: 350,"))  # would reject one of them
    assert books(await house.take(AGAIN, "rooms"))[:3] == (8, 0, 0)
    assert await rows(house) == [("a", 600.0), ("c", 700.0), ("e", 1200.0)]
    assert await house.value("SELECT count(*) FROM rejected") == 2
    assert await filtered(house) == [1, 2]
    await clean(house)


async def test_what_is_stored_or_rejected_stays_so_whatever_a_step_says_today(house: House) -> None:
    define(house, ANY)
    assert books(await house.take(MEASURED, "rooms")) == (8, 4, 3, 1, 0)
    define(house, STRICT)
    assert books(await house.take(AGAIN, "rooms")) == (8, 0, 0, 8, 0)
    assert await filtered(house) == []
    assert [room for room, _ in await rows(house)] == ["a", "b", "c", "e"]
    await clean(house)


KEYED = """
doc: CO2 of rooms, by a name that is made of two.
owner: facilities
source: {type: mqtt, topic: "rooms/{room}/co2"}
table:
  name: rooms
  key: [name, at]
  time: at
  columns:
    room: {type: text, from: {topic: room}}
    house: {type: text}
    at: {type: timestamp, from: time}
    co2: {type: integer}
    whole: {type: text}
    name: {type: text}
steps:
  - where: co2 > 400
  - set:
      whole: UPPER(room)
  - set:
      name: COALESCE(house, 'main') || '/' || whole
"""
OTHER = KEYED.replace("co2 > 400", "co2 > 1000")


async def test_a_stored_record_whose_key_a_step_sets_is_a_duplicate_whatever_is_filtered_today(
    house: House,
) -> None:
    define(house, KEYED.replace("name: rooms", "name: halls"))
    await stores.prepare_each(house.settings, [house.catalog.contracts["halls"]])
    sent = a_batch(("a", {"co2": 600}), ("b", {"co2": 300}), ("c", {"co2": 1200, "house": "x"}))
    assert books(await house.take(sent, "rooms")) == (3, 2, 0, 0, 1)
    again = replace(sent, may_repeat=True)
    assert books(await house.take(again, "rooms")) == (3, 0, 0, 2, 1)
    define(house, OTHER.replace("name: rooms", "name: halls"))
    assert books(await house.take(again, "rooms")) == (3, 0, 0, 2, 1)
    new = replace(a_batch(("d", {"co2": 700}), ("e", {"co2": 800})), may_repeat=True)
    assert books(await house.take(new, "rooms"))[3:] == (0, 2)
    found = await house.connection.fetch("SELECT name FROM halls ORDER BY name")
    assert [row["name"] for row in found] == ["main/A", "x/C"]
    await clean(house)


async def test_a_rejected_record_that_passes_and_is_filtered_waits_no_longer(house: House) -> None:
    await house.take(MEASURED, "rooms")
    define(house, ROOMS.replace("minimum: 0", "minimum: -10"))
    told: list[tuple[int, int]] = []
    total = await replay(
        house.settings, house.catalog, Which(), dry_run=False, tell=lambda *at: told.append(at)
    )
    assert (total["read"], total["accepted"], total["filtered"], total["rejected"]) == (2, 0, 1, 1)
    (verdict,) = await house.connection.fetch("SELECT verdict FROM replays WHERE verdict <> 'rejected'")
    assert verdict["verdict"] == "filtered"
    waiting = await house.connection.fetch("SELECT rules FROM rejected WHERE resolved_by IS NULL")
    assert [row["rules"] for row in waiting] == [["excess.range"]]
    assert await filtered(house) == [1, 2, 3]
    assert await rows(house) == [("a", 600.0), ("c", 700.0), ("e", 1200.0)]
    await clean(house)
    define(house, ANY.replace("minimum: 0", "minimum: -10"))
    assert books(await house.take(AGAIN, "rooms"))[:3] == (8, 0, 0)
    await clean(house)


async def test_a_stricter_step_withdraws_rows_and_a_looser_one_brings_them_back(house: House) -> None:
    receipt = await house.take(MEASURED, "rooms")
    define(house, STRICT)
    selection = Selection(batch=receipt.batch)
    told = await reprocess(house, selection, apply=False)
    assert (told.filtered, told.rejected, told.changes["rooms"].withdrawn) == (2, 0, 2)
    assert await rows(house) == [("a", 600.0), ("c", 700.0), ("e", 1200.0)]
    done = await reprocess(house, selection)
    assert done.filtered == 2
    assert await rows(house) == [("e", 1200.0)]
    assert await house.value("SELECT count(*) FROM store.rooms_history") == 2
    assert await house.value("SELECT count(*) FROM rejected") == 2
    await clean(house)
    assert (await reprocess(house, selection)).batches == []  # nothing is left to do
    assert books(await house.take(AGAIN, "rooms"))[:3] == (8, 0, 0)

    define(house, ROOMS)
    again = await reprocess(house, selection)
    assert (again.filtered, again.changes["rooms"].new) == (0, 2)
    assert await rows(house) == [("a", 600.0), ("c", 700.0), ("e", 1200.0)]
    await clean(house)


async def test_what_was_filtered_and_passes_now_is_stored_or_waits_for_its_key(house: House) -> None:
    first = await house.take(a_batch(("a", {"co2": 300}), ("b", {}), ("c", {"co2": 200})), "rooms")
    await house.take(a_batch(("a", {"co2": 900})), "rooms")  # the same key, and not filtered
    assert await rows(house) == [("a", 900.0)]
    define(house, ANY)
    version = await house.value(f"SELECT transformation_id FROM ledger WHERE batch = {first.batch}")
    done = await reprocess(house, Selection(transformation=version))
    assert done.changes["rooms"].new == 2
    assert await rows(house) == [("a", 900.0), ("b", None), ("c", 200.0)]
    (waiting,) = await house.connection.fetch("SELECT rules, key FROM rejected WHERE resolved_by IS NULL")
    assert waiting["rules"] == ["key.conflict"]
    await clean(house)


async def test_a_batch_of_which_everything_was_filtered_is_found_and_made_again(house: House) -> None:
    receipt = await house.take(a_batch(("a", {"co2": 100}), ("b", {})), "rooms")
    assert books(receipt) == (2, 0, 0, 0, 2)
    await clean(house)
    define(house, ANY)
    await reprocess(house, Selection(batch=receipt.batch))
    assert await rows(house) == [("a", 100.0), ("b", None)]
    await clean(house)


async def test_what_was_filtered_and_breaks_a_rule_now_is_rejected_by_a_reprocess(house: House) -> None:
    receipt = await house.take(MEASURED, "rooms")
    define(house, ROOMS.replace("minimum: 0", "minimum: 350"))
    await reprocess(house, Selection(batch=receipt.batch))
    broken = await house.connection.fetch("SELECT sequence FROM rejected ORDER BY sequence")
    assert [row["sequence"] for row in broken] == [2, 3, 7]
    await clean(house)


LINES = "a,2026-11-21T08:00:00Z,20.5\nb,2026-11-21T08:00:00Z,21.5\nc,2026-11-21T08:00:00Z,900\n"


def a_part(header: str, held: str, name: str = "x.csv") -> RawBatch:
    messages = [(f"{name}:1", header.encode()), (f"{name}:2", held.encode())]
    return RawBatch(
        dataset="file:sensors/**/*",
        messages=pl.DataFrame(messages, MESSAGE_SCHEMA, orient="row"),
        received_at=NOW,
        received_until=NOW,
        layout=Layout(format=Format.CSV),
    )


async def test_lines_of_a_file_are_filtered_each_alone(house: House) -> None:
    path = house.pipelines / "sensors" / "sensors-files.yaml"
    said = yaml.safe_load(path.read_text())
    said["steps"].append({"where": "temperature > 21"})
    catalogs.written(path, said)
    receipt = await house.take(a_part("device_id,timestamp,temperature\n", LINES), "sensors-files")
    assert books(receipt) == (3, 1, 1, 0, 1)
    (only,) = await house.connection.fetch("SELECT sequence, part FROM filtered")
    assert tuple(only) == (1, 0)
    other = LINES.replace("2026-11-21", "2026-11-20")
    for name, held in (("y.csv", other), ("z.csv", other.splitlines(keepends=True)[0])):
        await house.take(a_part("device,timestamp,temperature\n", held, name), "sensors-files")
    await clean(house)
    catalogs.written(path, said | {"source": said["source"] | {"columns": {"device": "device_id"}}})
    await house.replay()  # what waited as a whole is judged line by line
    verdicts = await house.connection.fetch("SELECT verdict FROM replays ORDER BY verdict")
    assert [row["verdict"] for row in verdicts] == ["filtered", "rejected", "split"]
    assert await house.value("SELECT count(*) FROM sensor_readings") == 2
    assert await house.value("SELECT count(*) FROM filtered") == 3
    await clean(house)


async def test_the_command_line_tells_what_is_filtered(house: House) -> None:
    receipt = await house.take(MEASURED, "rooms")
    define(house, STRICT)
    told = await reprocess(house, Selection(batch=receipt.batch), apply=False)
    assert [*lines(told, ["reprocess"])][2:] == [
        "1 batch holds records that were filtered",
        f"raw batches: {receipt.batch}",
        "rooms, today: 0 rows changed, 0 new, 2 withdrawn, 1 the same",
        "2 records would be filtered by today's steps",
        "Nothing was changed; --apply does it.",
    ]


@pytest.mark.parametrize(
    ("forged", "told"),
    [
        ("UPDATE store.filtered SET sequence = 0 WHERE sequence = 1", "filtered, batch"),
        ("DELETE FROM store.filtered WHERE sequence = 1", "filtered, batch"),
        ("UPDATE store.ledger SET filtered = 1, duplicates = 2", "ledger, batch"),
    ],
)
async def test_forged_filtered_records_do_not_follow_from_their_bytes(
    house: House, forged: str, told: str
) -> None:
    await house.take(MEASURED, "rooms")
    await house.forge(forged)
    proof = await house.prove()
    assert any(told in difference for difference in proof.differences)
