"""Files that say too little of themselves, read by the format that their pipeline says."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flows.catalog import Pipeline
from infra.local.addresses import Address
from lineage.proof import Proof
from tasks.load.raw import read_raw, record_at
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house
from tests.fixtures.listening import Listeners
from tests.fixtures.waiting import until_stored
from tests.integration.test_named_parts import SHARED

FORMAT = "format: {type: csv, skip: 2, names: [row, date, Temp, co2, ratio, occupancy]}"
CELLAR = f"""
doc: Climate of a cellar, as its recorder writes it.
owner: facility
source:
  type: files
  folder: cellar
  pattern: "*.txt"
  poll: PT0.1S
  {FORMAT}
  columns: {{Temp: temperature}}
table:
  name: cellar_climate
  key: [date]
  time: date
  oldest: P20Y
  columns:
    date: {{type: timestamp, zone: Europe/Brussels}}
    temperature: {{type: float, unit: °C, minimum: -20, maximum: 60}}
    co2: {{type: float, unit: ppm}}
    occupied: {{type: boolean, from: occupancy, map: {{"1": true, "0": false}}}}
    stuffy: {{type: boolean}}
steps:
  - set:
      stuffy: co2 > 1000
"""
BEFORE = 'recorder "7\n"date","Temperature","CO2","Ratio","Occupancy"\n'  # its quote is left open
RECORDS = (
    '"140","2015-02-02 14:19:00",23.7,749.2,0.0047,1',
    '"141","2015-02-02 14:19:59",23.718,1760.4,0.0047,0',
    '"142","2015-02-02 14:21:00",85.5,769,0.0047,1',  # beyond the maximum
    '"143","2015-02-02 14:22:00",23.7',
    "",
    '"144","2015-02-02 14:23:00",23.75,740,0.0047,"1"',
    '"145","2015-02-02 14:24:00",23.75,740,0.0047,1,"one too many"',
)
ROWS = "SELECT to_char(date, 'HH24:MI:SS'), temperature, co2, occupied, stuffy FROM cellar_climate ORDER BY 1"
STORED = [
    ("13:19:00", 23.7, 749.2, True, False),
    ("13:19:59", 23.718, 1760.4, False, True),
    ("13:23:00", 23.75, 740.0, True, False),
]
HOT = ("13:21:00", 85.5, 769.0, True, False)
OPEN = "SELECT rules, location, message, sequence, part, coalesce(raw_batch, batch) AS raw FROM rejected "
READ = "SELECT coalesce(sum(read), 0)::bigint FROM ledger"


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        say(house, CELLAR)
        (tmp_path / "files" / "cellar").mkdir(parents=True)
        yield house


@pytest.fixture
def inbox(house: House, tmp_path: Path) -> Path:
    return tmp_path / "files" / "cellar"


def say(house: House, text: str) -> Pipeline:
    """The pipeline as it is from now on."""
    catalogs.written(house.pipelines / "cellar" / "pipeline.yaml", text)
    return house.catalog.pipeline("cellar")


def lines(*records: str) -> str:
    return "".join(f"{record}\n" for record in records)


async def rows(house: House) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await house.connection.fetch(ROWS)]


async def rejected(house: House, which: str = "WHERE resolved_by IS NULL") -> dict[str, tuple[str, bytes]]:
    """Where each one that waits stood in its file → its first rule, and its bytes."""
    found = {}
    for row in await house.connection.fetch(f"{OPEN} {which}"):
        batch = (await read_raw(house.connection, row["raw"])).batch
        location, payload = record_at(batch, row["sequence"], row["part"])
        assert payload is not None
        assert row["location"] == location
        found[location] = row["rules"][0], payload
    return found


def is_clean(proof: Proof, stored: int) -> None:
    """Every row was made again from its bytes."""
    assert proof.differences == ()
    assert proof.from_bytes is not None
    assert proof.from_bytes.rows == stored


async def test_a_file_without_a_header_that_fits_is_stored_judged_again_and_proven(
    listeners: Listeners, house: House, inbox: Path
) -> None:
    (inbox / "a.txt").write_text(BEFORE + lines(*RECORDS))
    async with listeners.run(house.catalog.pipeline("cellar")):
        await until_stored(house.connection, READ, 6)
    assert await rows(house) == STORED
    assert await rejected(house) == {
        f"a.txt:{3 + at}": (rule, RECORDS[at].encode())
        for at, rule in ((2, "temperature.range"), (3, "payload.cells"), (6, "payload.cells"))
    }
    assert await house.value("SELECT message FROM rejected WHERE location = 'a.txt:6'") == (
        "the line has more or fewer cells than columns have names, or a quote out of place: "
        "expected 6 cells, found 3."
    )
    derived = await house.connection.fetch(
        "SELECT source_key FROM lineage_log WHERE relationship_type = 'DERIVES' "
        "AND target_key = 'postgres:cellar_climate.occupied' AND facts->>'direct' IS NOT NULL"
    )
    assert [row["source_key"] for row in derived] == ["file:cellar/*.txt.occupancy"]
    is_clean(await house.prove(), 3)
    say(house, CELLAR.replace("maximum: 60", "maximum: 90"))
    await house.replay()
    assert await rows(house) == sorted([*STORED, HOT])
    assert set(await rejected(house)) == {"a.txt:6", "a.txt:9"}
    assert (await house.prove()).differences == ()


async def test_what_was_read_under_a_header_that_is_none_is_read_by_names_when_it_is_replayed(
    listeners: Listeners, house: House, inbox: Path
) -> None:
    """Where they begin at the same line; else it waits, and nothing of it becomes a row."""
    say(house, CELLAR.replace(FORMAT, "format: {type: csv, skip: 1}"))
    (inbox / "a.txt").write_text(BEFORE + lines(*RECORDS[:2]))
    async with listeners.run(house.catalog.pipeline("cellar")):
        await until_stored(house.connection, READ, 1)
    held = lines(*RECORDS[:2]).encode()
    assert await rejected(house) == {"a.txt:3": ("header.near", held)}
    say(house, CELLAR.replace("skip: 2", "skip: 1"))
    await house.replay()
    assert await rejected(house) == {"a.txt:3": ("header.near", held)}
    say(house, CELLAR)
    await house.replay()
    assert (await rows(house), await rejected(house)) == (STORED[:2], {})
    is_clean(await house.prove(), 2)
    receipt = await house.value("SELECT min(batch) FROM store.raw_batches")
    say(house, CELLAR.replace("co2 > 1000", "co2 > 700"))
    await house.reprocess(receipt)
    assert [row[-1] for row in await rows(house)] == [True, True]
    assert (await house.prove()).differences == ()


async def test_a_file_that_ends_before_its_records_begin_is_rejected_with_its_bytes(
    listeners: Listeners, house: House, inbox: Path
) -> None:
    pipeline = say(house, CELLAR.replace("skip: 2", "skip: 5").replace("poll", "unfinished: PT0S\n  poll"))
    (inbox / "a.txt").write_text(BEFORE + lines(*RECORDS[:2]))
    async with listeners.run(pipeline):
        await until_stored(house.connection, READ, 1)
    assert await rejected(house) == {"a.txt:1": ("header.skip", (BEFORE + lines(*RECORDS[:2])).encode())}
    assert await house.value("SELECT message FROM rejected") == (
        "the file has 4 lines, and by `skip` its records begin after line 5: correct `skip` in the pipeline, "
        "and drop the file again under another name."
    )
    say(house, CELLAR)
    await house.replay()
    assert (len(await rejected(house)), await rows(house)) == (1, [])
    assert (await house.prove()).differences == ()


async def test_a_file_that_grows_is_followed_by_the_same_format(
    listeners: Listeners, house: House, inbox: Path
) -> None:
    pipeline = say(house, CELLAR.replace("poll", "follow: true\n  poll"))
    log = inbox / "a.txt"
    log.write_text(BEFORE[:30])  # within what is passed over
    async with listeners.run(pipeline):
        with log.open("a") as file:
            file.write(BEFORE[30:] + lines(RECORDS[0]))
        await until_stored(house.connection, READ, 1)
        with log.open("a") as file:
            file.write(lines(*RECORDS[1:4])[:-3])
        await until_stored(house.connection, READ, 3)
    async with listeners.run(pipeline):
        with log.open("a") as file:
            file.write(lines(*RECORDS[3:])[len(RECORDS[3]) - 2 :])
        await until_stored(house.connection, READ, 6)
    assert await rows(house) == STORED
    assert {at: each[0] for at, each in (await rejected(house)).items()} == {
        "a.txt:5": "temperature.range",
        "a.txt:6": "payload.cells",
        "a.txt:9": "payload.cells",
    }
    assert await house.value("SELECT split_part(mark, ' ', 1)::int FROM store.progress") == log.stat().st_size
    is_clean(await house.prove(), 3)


SHOWN = (SHARED / "examples" / "room").is_dir()


@pytest.mark.skipif(not SHOWN, reason="it reads ../shared, no part of the repository; above is ours")
async def test_the_room_that_users_are_shown_is_stored_as_it_stands(
    listeners: Listeners, house: House, tmp_path: Path
) -> None:
    shutil.copytree(SHARED / "examples" / "room", house.pipelines / "room")
    (tmp_path / "files" / "room").mkdir()
    shutil.copy(SHARED / "data" / "room" / "datatest.txt", tmp_path / "files" / "room")
    held = (SHARED / "data" / "room" / "datatest.txt").read_text().splitlines()
    async with listeners.run(house.catalog.pipeline("room")):
        await until_stored(house.connection, READ, 2665)
    assert await house.value("SELECT count(*) FROM room_climate") == len(held) - 1 == 2665
    assert await rejected(house) == {}
    occupied = sum(line.endswith(",1") for line in held)
    assert await house.value("SELECT count(*) FILTER (WHERE occupied) FROM room_climate") == occupied
    assert await house.value("SELECT count(*) FILTER (WHERE stuffy = (co2 > 1000)) FROM room_climate") == 2665
    is_clean(await house.prove(), 2665)
