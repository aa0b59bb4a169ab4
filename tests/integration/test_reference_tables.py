"""A table without time: unpartitioned, its rows replaced by newer ones; else it is as any table."""

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows import catalog
from flows.acts.partitions import extend
from flows.acts.recall import Order, Outcome, recalled
from flows.process import stores
from infra.local.addresses import Address
from infra.postgres import Connection
from lineage.errors import ContractError
from tasks.again.quarantine import Kind
from tasks.again.recall import Selection
from tasks.tables.partitions import missing_ahead
from tasks.tables.tables import prepare_table
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house
from tests.fixtures.listening import Listeners
from tests.fixtures.rooms import ROOMS, a_file
from tests.fixtures.waiting import until_stored
from tests.integration.test_named_parts import SHARED, alone, ours_and

MARKS = "SELECT count(*) FROM store.change_marks WHERE table_name = 'rooms'"


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        written(house)
        await stores.prepare_each(house.settings, [house.catalog.contracts["rooms"]])
        yield house


def written(house: House, text: str = ROOMS) -> None:
    catalogs.written(house.pipelines / "rooms" / "pipeline.yaml", text)


async def rows(house: House, of: str = "rooms") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await house.connection.fetch(f"SELECT room, floor FROM {of} ORDER BY 1, 2")]


async def act(house: House, kind: Kind, selection: Selection) -> Outcome:
    order = Order(kinds=[kind], reason="a test", by_whom="ada", apply=True)
    return await recalled(house.settings, house.catalog, selection, order)


async def proven(house: House) -> None:
    proof = await house.prove()
    assert proof.differences == ()
    assert proof.from_bytes is not None
    assert dict(proof.from_bytes.left_out) == {}


async def test_newer_lines_replace_older_ones_and_all_of_it_is_proven(house: House) -> None:
    first = await house.take(a_file("A1,1", "A2,1", "A2,2", "B7,high", "C3,"), "rooms")
    assert (first.accepted, first.rejected, first.filtered) == ({"rooms": 3}, 1, 1)
    later = await house.take(a_file("A1,4", "A2,2", "D4,3", minute=1), "rooms")
    assert (later.accepted, later.duplicates) == ({"rooms": 2}, 1)
    late = await house.take(a_file("A1,9", minute=-1), "rooms")  # seen before what stands
    assert late.accepted == {"rooms": 1}
    assert await rows(house) == [("A1", 4), ("A2", 2), ("C3", None), ("D4", 3)]
    assert await rows(house, "store.rooms_history") == [("A1", 1), ("A1", 9)]
    assert await house.value("SELECT relkind::text FROM pg_class WHERE oid = 'store.rooms'::regclass") == "r"
    assert await house.value(MARKS) == 0
    await proven(house)


async def test_it_is_judged_again_recalled_and_renamed_as_any_table(house: House) -> None:
    first = await house.take(a_file("A1,1", "A2,200", "A3,3"), "rooms")
    assert first.rejected == 1
    written(house, ROOMS.replace("maximum: 100", "maximum: 300") + "  version: 2\n")
    await house.replay()
    assert await rows(house) == [("A1", 1), ("A2", 200), ("A3", 3)]
    written(house, ROOMS.replace("floor: {", "level: {was: floor, from: floor, ").replace("100", "300"))
    await stores.prepare_each(house.settings, [house.catalog.contracts["rooms"]])
    assert await house.value("SELECT level FROM rooms WHERE room = 'A2'") == 200
    counted = steps_above(ROOMS.replace("100", "300"))
    written(house, counted)
    await stores.prepare_each(house.settings, [house.catalog.contracts["rooms"]])
    outcome = await act(house, "reprocess", Selection(batch=first.batch))
    assert outcome.changes["rooms"].changed == 3
    assert await house.value("SELECT array_agg(above ORDER BY room) FROM rooms") == [2, 201, 4]
    assert await house.value("SELECT count(*) FROM store.rooms_history") == 3
    await proven(house)

    gone = await act(house, "quarantine", Selection(batch=first.batch))
    assert (gone.rows, [table.hours for table in gone.scope.tables]) == ({"rooms": 3}, [0])
    assert await house.value("SELECT count(*) FROM rooms") == 0
    await act(house, "release", Selection(batch=first.batch))
    assert await house.value("SELECT count(*) FROM rooms") == 3
    whenever = Selection(batch=first.batch, since=datetime(2000, 1, 1, tzinfo=UTC))
    assert (await act(house, "quarantine", whenever)).scope.tables == []
    assert await house.value(MARKS) == 0
    await proven(house)


def steps_above(text: str) -> str:
    """With a column more, which a step sets."""
    floor = "floor: {type: integer, maximum: 300}"
    renamed = text.replace(floor, "level: {type: integer, from: floor}\n    above: {type: integer}")
    return f"{renamed}steps:\n  - set:\n      above: level + 1\n"


FORGED = {
    "a value": ("UPDATE store.rooms SET floor = 7 WHERE room = 'A1'", "rooms, batch 1"),
    "a row of the history that is gone": ("DELETE FROM store.rooms_history", "rooms, batch 1"),
    "a mark of an hour": (
        "INSERT INTO store.change_marks (reader, table_name, bucket, batch) VALUES ('r', 'rooms', now(), 1)",
        "change_marks: of rooms for r, which is not told of its changes",
    ),
}


@pytest.mark.parametrize("what", FORGED)
async def test_what_is_changed_by_hand_is_found(house: House, what: str) -> None:
    await house.take(a_file("A1,1", "A2,2"), "rooms")
    await house.take(a_file("A2,3", minute=1), "rooms")
    statement, said = FORGED[what]
    await house.connection.execute(statement)
    proof = await house.prove(from_bytes=False)
    assert any(each.startswith(said) for each in proof.differences), proof.differences


async def test_it_has_no_partitions_and_lacks_none(house: House) -> None:
    now = datetime.now(UTC)
    assert "rooms" in await extend(house.settings, house.catalog, now)
    assert await missing_ahead(house.store.pool, [house.catalog.contracts["rooms"]], now) == []
    timed = ROOMS.replace("[room]", "[room, at]\n  time: at").replace("columns:", AT)
    written(house, timed)
    with pytest.raises(ContractError, match=r"rooms stands with key: \[room\] and its contract now says"):
        await prepare_table(house.connection, house.catalog.contracts["rooms"])


AT = "columns:\n    at: {type: timestamp}"


@pytest.mark.parametrize("whose", ours_and("rooms"))
async def test_a_file_that_is_dropped_again_is_the_table_of_today(
    listeners: Listeners,
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
) -> None:
    monkeypatch.setenv("HEADWATER_FILES", str(tmp_path / "files"))
    if whose == "ours":
        catalogs.written(tmp_path / "own" / "rooms" / "pipeline.yaml", ROOMS)
    else:
        shutil.copytree(SHARED / "examples" / "rooms", tmp_path / "own" / "rooms")
    pipeline, inbox = alone(tmp_path / "own", "rooms"), tmp_path / "files" / "rooms"
    inbox.mkdir(parents=True)
    async with listeners.run(pipeline):
        (inbox / "rooms.csv").write_text("room,floor\nA1,1\nA2,2\n")
        await until_stored(connection, "SELECT coalesce(sum(read), 0)::bigint FROM ledger", 2)
        (inbox / "rooms.csv").write_text("room,floor\nA1,1\nA2,5\nA3,3\n")
        await until_stored(connection, "SELECT sum(read)::bigint FROM ledger", 5)
    found = await connection.fetch("SELECT room, floor FROM rooms ORDER BY room")
    assert [tuple(row) for row in found] == [("A1", 1), ("A2", 5), ("A3", 3)]
    assert await connection.fetchval("SELECT floor FROM store.rooms_history") == 2


def test_a_derived_table_is_not_made_of_it(tmp_path: Path) -> None:
    catalogs.written(tmp_path / "rooms" / "pipeline.yaml", ROOMS)
    catalogs.written(tmp_path / "rooms" / "derived" / "floors.yaml", FLOORS)
    catalogs.written(tmp_path / "rooms" / "derived" / "floors.sql", "SELECT floor FROM rooms")
    (broken,) = catalog.read_directories((tmp_path,)).broken
    assert "it is made from rooms, which has no `time`, and so no buckets to be made again" in broken.why


FLOORS = """
key: [floor, hour]
time: hour
on_return: recompute
made_from: [rooms]
columns:
  floor: {type: integer}
  hour: {type: timestamp}
"""
