"""Values looked up in a reference table: as it was then, the whole way, and made again from that state."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flows.acts.recall import Order, recalled
from flows.process import stores
from infra.local.addresses import Address
from infra.mqtt.client import Publisher
from infra.postgres import Connection
from lineage.proof import Proof
from tasks.again.quarantine import Kind
from tasks.again.recall import Selection
from tasks.load.reference import ReferenceTables, TooLargeError
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house
from tests.fixtures.listening import Listeners
from tests.fixtures.rooms import CLIMATE, ROOMS, a_file, measured, messages
from tests.fixtures.waiting import until_stored
from tests.integration.test_named_parts import SHARED, ours_and

ROWS = "SELECT room, floor, high FROM climate ORDER BY at"


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        catalogs.written(house.pipelines / "rooms" / "pipeline.yaml", ROOMS)
        await climate(house)
        yield house


async def climate(house: House, text: str = CLIMATE) -> None:
    catalogs.written(house.pipelines / "climate" / "pipeline.yaml", text)
    contracts = house.catalog.contracts
    await stores.prepare_each(house.settings, [contracts["rooms"], contracts["climate"]])


async def rows(house: House) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await house.connection.fetch(ROWS)]


async def act(house: House, kind: Kind, batch: int) -> None:
    order = Order(kinds=[kind], reason="a test", by_whom="ada", apply=True)
    await recalled(house.settings, house.catalog, Selection(batch=batch), order)


async def proven(house: House) -> Proof:
    """Every batch that was made of messages was made again, to the last value."""
    proof = await house.prove()
    assert proof.differences == ()
    assert proof.from_bytes is not None
    assert dict(proof.from_bytes.left_out) == {}
    assert [
        why for why in proof.from_bytes.not_made if not why.startswith("they were made of no messages")
    ] == []
    return proof


async def test_a_row_keeps_what_was_known_when_it_came(house: House) -> None:
    await house.take(a_file("A1,1", "B7,4", "C3,"), "rooms")
    first = messages(measured("A1", 1), measured("B7", 2), measured("nowhere", 3), measured("C3", 4))
    await house.take(first, "climate")
    await house.take(a_file("A1,5", "nowhere,9", minute=1), "rooms")
    later = await house.take(messages(measured("A1", 5), *first.messages.rows()), "climate")
    assert (later.accepted, later.duplicates, later.rejected) == ({"climate": 1}, 4, 0)
    assert await rows(house) == [
        ("A1", 1, False),
        ("B7", 4, True),
        ("nowhere", None, None),
        ("C3", None, None),
        ("A1", 5, True),
    ]
    assert await house.value("SELECT count(*) FROM store.climate_history") == 0
    found = await proven(house)
    assert found.from_bytes is not None
    assert found.from_bytes.rows == 3 + 2 + 5 + 0
    said = await house.connection.fetch("SELECT batch, looked_up->>'postgres:rooms' AS of FROM ledger")
    assert {row["batch"]: row["of"] for row in said} == {1: None, 2: "batch 1", 3: None, 4: "batch 3"}
    await house.forge("UPDATE store.climate SET floor = 5 WHERE floor = 1")
    (difference,) = (await house.prove()).differences
    assert difference.endswith("floor is stored as 5 and made again as 1")


REQUIRED = CLIMATE.replace("floor: {type: integer}", "floor: {type: integer, required: true}")
OPEN = "SELECT array_agg(key ORDER BY key) FROM store.rejected WHERE resolved_by IS NULL"


async def test_what_is_not_found_is_rejected_where_it_is_required_and_replayed_once_it_is_there(
    house: House,
) -> None:
    await climate(house, REQUIRED)
    await house.take(a_file("A1,1"), "rooms")
    sent = measured("A1", 1), measured("B7", 2), measured("C3", 3)
    first = await house.take(messages(*sent), "climate")
    assert (first.accepted, first.rejected) == ({"climate": 1}, 2)
    assert await house.value("SELECT rules FROM rejected LIMIT 1") == ["floor.required"]
    await house.replay()
    ledger = await house.value("SELECT count(*) FROM ledger")
    await house.replay()  # nothing has changed since
    assert await house.value("SELECT count(*) FROM ledger") == ledger

    await house.take(a_file("B7,4", minute=1), "rooms")
    for may_repeat in (False, True):  # what was rejected stays so, however it comes again
        again = await house.take(messages(*sent, may_repeat=may_repeat), "climate")
        assert (again.accepted, again.rejected, again.duplicates) == ({"climate": 0}, 0, 3)
    await house.replay()
    assert await rows(house) == [("A1", 1, False), ("B7", 4, True)]
    assert len(await house.value(OPEN)) == 1
    await proven(house)


async def test_a_row_that_is_recalled_is_not_found_until_it_is_released(house: House) -> None:
    first = await house.take(a_file("A1,1"), "rooms")
    await house.take(messages(measured("A1", 1)), "climate")
    await act(house, "quarantine", first.batch)
    await house.take(messages(measured("A1", 2)), "climate")
    await act(house, "release", first.batch)
    await house.take(messages(measured("A1", 3)), "climate")
    assert [row[1] for row in await rows(house)] == [1, None, 1]
    await proven(house)


async def test_a_reprocess_looks_up_anew(house: House) -> None:
    first = await house.take(a_file("A1,1", "B7,4"), "rooms")
    taken = await house.take(messages(measured("A1", 1), measured("B7", 2)), "climate")
    await house.take(a_file("A1,7", minute=1), "rooms")
    await act(house, "reprocess", taken.batch)
    assert await rows(house) == [("A1", 7, True), ("B7", 4, True)]
    catalogs.written(
        house.pipelines / "rooms" / "pipeline.yaml", ROOMS.replace("floor: {", "floor: {null_values: [7], ")
    )
    await act(house, "reprocess", 3)  # which was read as 7 and is none
    await house.take(messages(measured("A1", 3)), "climate")
    assert [row[1] for row in await rows(house)] == [7, 4, None]
    proof = await house.prove()
    assert proof.differences == ()
    assert first.batch == 1


async def test_a_table_that_is_too_large_is_told_and_nothing_is_looked_up_in_a_part_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.take(a_file("A1,1", "A2,2"), "rooms")
    tables = ReferenceTables([house.catalog.contracts["rooms"]])
    known = await tables.current(house.store.pool)
    assert (known["rooms"].batch, known["rooms"].rows.height) == (1, 2)
    assert await tables.current(house.store.pool) is known  # it is not read again
    monkeypatch.setattr("tasks.load.reference.MOST_ROWS", 2)
    assert await tables.current(house.store.pool) is known
    await house.take(a_file("A3,3", minute=1), "rooms")
    with pytest.raises(TooLargeError, match=r"The reference table rooms has more than 2 rows or 200 MB"):
        await tables.current(house.store.pool)


async def test_states_are_named_in_the_order_of_their_commits(house: House) -> None:
    """Two writers of a reference table at once: no commit is added to a state that was named before."""
    tables = ReferenceTables([house.catalog.contracts["rooms"]])
    seen: dict[int, int] = {}
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            state = (await tables.current(house.store.pool))["rooms"]
            assert seen.setdefault(state.batch, state.rows.height) == state.rows.height

    async def write(letter: str) -> None:
        async with stores.open_store(house.settings, letter) as store:
            other = House(house.settings, store, house.connection, house.graph, house.pipelines)
            for number in range(8):
                await other.take(a_file(f"{letter}{number},1"), "rooms")

    looking = asyncio.create_task(look())
    await asyncio.gather(write("a"), write("b"))
    done.set()
    await looking
    for batch, height in seen.items():
        query = "SELECT count(*) FROM store.rooms WHERE batch <= $1"
        assert await house.connection.fetchval(query, batch) == height


@pytest.mark.parametrize("whose", ours_and("rooms"))
async def test_the_listener_looks_up_in_what_is_committed(
    listeners: Listeners,
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whose: str,
) -> None:
    monkeypatch.setenv("HEADWATER_FILES", str(tmp_path / "files"))
    own, inbox = tmp_path / "own", tmp_path / "files" / "rooms"
    catalogs.written(own / "climate" / "pipeline.yaml", CLIMATE)
    if whose == "ours":
        catalogs.written(own / "rooms" / "pipeline.yaml", ROOMS)
    else:
        shutil.copytree(SHARED / "examples" / "rooms", own / "rooms")
    inbox.mkdir(parents=True)
    catalog = catalogs.read(own)
    pipelines = catalog.pipeline("rooms"), catalog.pipeline("climate")
    async with listeners.run(*pipelines), Publisher(listeners.broker) as publisher:
        for floor in (1, 5):
            (inbox / "rooms.csv").write_text(f"room,floor\nA1,{floor}\n")
            await until_stored(connection, f"SELECT count(*) FROM rooms WHERE floor = {floor}", 1)
            await publisher.publish_many([measured("A1", floor)])
            await until_stored(
                connection, f"SELECT count(*) FROM climate WHERE co2 = 400 AND floor = {floor}", 1
            )
    found = await connection.fetch(ROWS)
    assert [tuple(row) for row in found] == [("A1", 1, False), ("A1", 5, True)]
    derives = await connection.fetch(
        "SELECT source_key, target_key FROM lineage_log WHERE relationship_type = 'DERIVES' "
        "AND facts->>'direct' IS NOT NULL AND target_key = ANY($1)",
        ["postgres:climate.floor", "postgres:climate.high", "postgres:rooms.floor"],
    )
    assert {tuple(row) for row in derives} == {
        ("postgres:rooms.floor", "postgres:climate.floor"),
        ("postgres:rooms.floor", "postgres:climate.high"),
        ("file:rooms/*.csv.floor", "postgres:rooms.floor"),
    }
