"""`headwater listen --pipeline sensors-files` as its users run it, killed where it hurts most."""

import asyncio
import io
import json
import os
import random
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from infra.local.addresses import Address
from infra.postgres import Connection, Pool, open_pool
from tasks.batch import MESSAGE_SCHEMA, Format, Layout, RawBatch
from tasks.look.origin import Message
from tasks.look.rejected_queries import Which, list_rejected, show_rejected
from tasks.look.row_key import typed_key
from tasks.look.trace import trace
from tests.acceptance.test_listen import prove
from tests.fixtures.commit import CONTRACT
from tests.fixtures.headwater import Headwater, Process
from tests.fixtures.parquet import with_a_corrupt_group
from tests.fixtures.replay import House, a_house
from tests.fixtures.waiting import until

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
HEADER = "device_id,timestamp,temperature,humidity\n"


def line(number: int) -> str:
    at = START + timedelta(milliseconds=number)
    return f"d{number % 20},{at.isoformat(timespec='milliseconds')},{20 + number % 10},40.5\n"


def lines(first: int, end: int) -> str:
    return "".join(line(number) for number in range(first, end))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the folders are; the inbox is there already."""
    (tmp_path / "files" / "sensors").mkdir(parents=True)
    return tmp_path / "files"


@pytest.fixture
def listen(headwater: Headwater, postgres_dsn: str, root: Path) -> Headwater:
    def start(*arguments: str) -> Process:
        settings = {"HEADWATER_POSTGRES_DSN": postgres_dsn, "HEADWATER_FILES": str(root)}
        return headwater("listen", "--pipeline", "sensors-files", *arguments, **settings)

    return start


async def archived(root: Path, name: str) -> Path:
    """The file in the archive, once it is there."""
    target = root / "sensors-archive" / name
    for _ in range(3_000):  # one without an end waits for `unfinished`, 30 s
        if target.exists():
            assert not (root / "sensors" / name).exists()
            return target
        await asyncio.sleep(0.05)
    pytest.fail(f"{name} was not archived")


RESTORED = """
SET session_replication_role = replica;
ALTER TABLE store.sensor_readings DROP COLUMN humidity CASCADE;
ALTER TABLE store.sensor_readings_history DROP COLUMN humidity CASCADE;
UPDATE store.contracts SET hash = 'of the version before';
"""


async def test_a_restored_backup_from_before_a_column_is_made_ready_again(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    listener = listen()
    listener.wait_until("listening")
    (root / "sensors" / "a.csv").write_text(HEADER + lines(0, 10))
    await archived(root, "a.csv")
    await connection.execute(RESTORED)
    (root / "sensors" / "b.csv").write_text(HEADER + lines(10, 20))
    await archived(root, "b.csv")
    assert await connection.fetchval("SELECT count(humidity) FROM sensor_readings") == 10
    assert listener.stop() == 0


async def test_while_the_ledger_is_broken_a_file_waits(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    listener = listen()
    listener.wait_until("listening")
    await connection.execute("ALTER TABLE store.ledger RENAME TO away")
    (root / "sensors" / "a.csv").write_text(HEADER + lines(0, 10))
    await until(lambda: "ledger: refused, tried again" in listener.log.read_text())
    await connection.execute("ALTER TABLE store.away RENAME TO ledger")
    await archived(root, "a.csv")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 10
    assert listener.stop() == 0


async def test_every_format_is_stored_and_archived(
    listen: Headwater,
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    root: Path,
    graph_address: Address,
) -> None:
    inbox = root / "sensors"
    (inbox / "a.csv").write_text(HEADER + lines(0, 1_000))
    records = [
        {"device_id": f"d{n}", "timestamp": (START + timedelta(seconds=n)).isoformat(), "temperature": 20.5}
        for n in range(1_000, 1_500)
    ]
    (inbox / "b.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records))
    frame = pl.read_csv(io.StringIO(HEADER + lines(2_000, 3_000))).with_columns(
        pl.col("timestamp").str.to_datetime(time_zone="UTC")
    )
    (inbox / "deep").mkdir()
    frame.write_parquet(inbox / "deep" / "c.parquet", row_group_size=300)
    (inbox / "notes.txt").write_text("not ours")
    listener = listen()
    for name in ("a.csv", "b.ndjson", "deep/c.parquet"):
        await archived(root, name)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 2_500
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0
    assert (
        await connection.fetchval(
            "SELECT sum(temperature) FROM sensor_readings WHERE batch IN "
            "(SELECT batch FROM ledger WHERE position->>'path' LIKE '%parquet')"
        )
        == frame["temperature"].sum()
    )
    assert (inbox / "notes.txt").exists()
    (start,) = [line for line in listener.log.read_text().splitlines() if "looking for files" in line]
    assert start.find(str(inbox)) > 0, start
    assert listener.stop() == 0
    proof = prove(headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]


async def test_a_bad_line_is_rejected_alone_with_its_bytes_and_its_line(
    listen: Headwater, connection: Connection, postgres_dsn: str, root: Path
) -> None:
    good = lines(0, 3).encode()
    bad = [
        b"short,line\n",
        b"d1,2026-99-99T00:00:00Z,20,40\n",
        b"\xff\xfe,,,\n",
        b'd1,yesterday,"2\n0",40\n',
        b"\n",
    ]
    (root / "sensors" / "x.csv").write_bytes(HEADER.encode() + good + b"".join(bad) + lines(3, 6).encode())
    listener = listen()
    await archived(root, "x.csv")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 6
    async with open_pool(postgres_dsn, application="test") as pool:
        found = {record["location"]: record for record in (await list_rejected(pool, Which(), 9)).records}
        assert {location: record["rules"] for location, record in found.items()} == {
            "x.csv:5": ["payload.cells"],
            "x.csv:6": ["timestamp.format"],
            "x.csv:7": ["payload.utf8"],
            "x.csv:8": ["timestamp.format", "temperature.type"],
        }
        for number, content in enumerate(bad[:4], start=5):
            shown = await show_rejected(pool, str(found[f"x.csv:{number}"]["identity"]))
            assert shown.payload == content.removesuffix(b"\n")
        row = await connection.fetchrow("SELECT * FROM sensor_readings ORDER BY timestamp DESC LIMIT 1")
        assert row is not None
        key = {"device_id": row["device_id"], "timestamp": str(row["timestamp"])}
        message = await message_of_row(pool, key)
        assert message.location == "x.csv:13"  # two lines of one record, and an empty one
        assert message.payload == line(5).encode().removesuffix(b"\n")
    assert listener.stop() == 0


async def test_killed_between_batches_and_before_the_archive_nothing_is_lost_nothing_twice(
    listen: Headwater,
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    root: Path,
    graph_address: Address,
) -> None:
    total, every = 400_000, 997
    with (root / "sensors" / "big.csv").open("w") as file:
        file.write(HEADER)
        for first in range(0, total, every):
            file.write(lines(first, min(first + every, total)) + "bad\n")
    bad = -(-total // every)
    chance = random.Random(7)  # noqa: S311 - no secret
    done = 0
    while not (root / "sensors-archive" / "big.csv").exists():
        listener = listen()
        await asyncio.to_thread(listener.wait_until, "listening")
        for _ in range(600):
            now = await connection.fetchval("SELECT count(*) FROM ledger")
            if now > done or (root / "sensors-archive" / "big.csv").exists():
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(chance.random() / 2)
        listener.kill()
        done = await connection.fetchval("SELECT count(*) FROM ledger")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == total
    assert await connection.fetchval("SELECT count(*) FROM rejected") == bad
    assert await connection.fetchval("SELECT sum(read)::bigint FROM ledger") == total + bad
    assert await connection.fetchval("SELECT sum(duplicates)::bigint FROM ledger") == 0
    proof = prove(headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]


async def test_a_file_committed_and_not_archived_is_only_archived(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    listener = listen()
    (root / "sensors" / "a.csv").write_text(HEADER + lines(0, 100))
    target = await archived(root, "a.csv")
    assert listener.stop() == 0
    target.rename(root / "sensors" / "a.csv")  # as if it had been killed before it moved the file
    listener = listen()
    await archived(root, "a.csv")
    assert await connection.fetchval("SELECT count(*) FROM ledger") == 1
    assert await connection.fetchval("SELECT sum(read)::bigint FROM ledger") == 100
    assert listener.stop() == 0


async def test_two_listeners_share_a_folder(listen: Headwater, connection: Connection, root: Path) -> None:
    listeners = [listen(), listen()]
    for listener in listeners:
        await asyncio.to_thread(listener.wait_until, "listening")
    for number in range(12):
        content = HEADER + lines(number * 500, (number + 1) * 500)
        (root / "sensors" / f".{number}").write_text(content)
        (root / "sensors" / f".{number}").rename(root / "sensors" / f"{number}.csv")
    for number in range(12):
        await archived(root, f"{number}.csv")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 6_000
    assert await connection.fetchval("SELECT sum(read)::bigint FROM ledger") == 6_000
    for listener in listeners:
        assert listener.stop() == 0


async def test_a_file_that_is_still_written_is_not_taken(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    listener = listen()
    await asyncio.to_thread(listener.wait_until, "listening")
    with (root / "sensors" / "slow.csv").open("w") as file:
        file.write(HEADER)
        for number in range(8):
            file.write(line(number))
            file.flush()
            await asyncio.sleep(0.4)
            assert await connection.fetchval("SELECT count(*) FROM ledger") == 0
    await archived(root, "slow.csv")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 8
    assert listener.stop() == 0


async def test_lines_that_end_by_cr_alone_are_lines(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    listener = listen()
    await asyncio.to_thread(listener.wait_until, "listening")
    text = '"device_id","timestamp","temperature","humidity"\n' + lines(0, 5) + "bad\n"
    (root / "sensors" / "mac.csv").write_bytes(text.replace("\n", "\r").encode())
    await archived(root, "mac.csv")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 5
    rows = await connection.fetch("SELECT location, rules FROM rejected")
    assert [tuple(row) for row in rows] == [("mac.csv:7", ["payload.cells"])]
    assert listener.stop() == 0


async def test_what_postgres_refuses_is_rejected_alone_by_its_line(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    listener = listen()
    await asyncio.to_thread(listener.wait_until, "listening")
    await connection.execute(
        """
        CREATE FUNCTION store.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'this one is not welcome' USING ERRCODE = '22000'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON store.sensor_readings FOR EACH ROW
        WHEN (NEW.device_id = 'd7') EXECUTE FUNCTION store.refuse()
        """
    )
    (root / "sensors" / "a.csv").write_text(HEADER + lines(0, 40))
    await archived(root, "a.csv")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 38
    rows = await connection.fetch("SELECT location, rules, message FROM rejected ORDER BY location")
    assert [row["location"] for row in rows] == ["a.csv:29", "a.csv:9"]
    assert all(row["rules"] == ["load.refused"] and "not welcome" in row["message"] for row in rows)
    assert await connection.fetchval("SELECT sum(read)::bigint FROM ledger") == 40
    assert listener.stop() == 0


async def test_what_is_not_parquet_is_rejected_with_its_bytes(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    listener = listen()
    (root / "sensors" / "x.parquet").write_bytes(b"PAR1 no")
    await archived(root, "x.parquet")
    row = await connection.fetchrow("SELECT location, rules FROM rejected")
    assert row is not None
    assert tuple(row) == ("x.parquet:1", ["payload.parquet"])
    assert listener.stop() == 0


async def test_a_parquet_file_with_a_corrupt_page_ends_nothing_and_its_bytes_are_kept(
    listen: Headwater, connection: Connection, postgres_dsn: str, root: Path
) -> None:
    inbox = root / "sensors"
    frame = pl.read_csv(io.StringIO(HEADER + lines(0, 600))).with_columns(
        pl.col("timestamp").str.to_datetime(time_zone="UTC")
    )
    frame.write_parquet(inbox / "bad.parquet", row_group_size=300)
    first, end = with_a_corrupt_group(inbox / "bad.parquet", 1)
    os.utime(inbox / "bad.parquet", (1_000, 1_000))  # the oldest: read first
    (inbox / "good.csv").write_text(HEADER + lines(600, 700))
    listener = listen()
    await archived(root, "good.csv")
    content = (await archived(root, "bad.parquet")).read_bytes()
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings") == 400
    async with open_pool(postgres_dsn, application="test") as pool:
        (record,) = (await list_rejected(pool, Which(), 9)).records
        assert (record["location"], record["rules"]) == ("bad.parquet:301", ["payload.parquet"])
        assert (await show_rejected(pool, str(record["identity"]))).payload == content[first:end]
    assert listener.stop() == 0


async def test_of_two_files_with_the_same_key_the_first_one_stands(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    """The first takes long to refine, the second no time at all."""
    inbox, rival = root / "sensors", line(99_999)
    (inbox / "first.csv").write_text(HEADER + lines(0, 100_000))
    (inbox / "second.csv").write_text(HEADER + rival.replace(",40.5", ",50.5"))
    os.utime(inbox / "first.csv", (1_000, 1_000))
    listener = listen()
    await archived(root, "first.csv")
    await archived(root, "second.csv")
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings WHERE humidity = 40.5") == 100_000
    rows = await connection.fetch("SELECT location, rules FROM rejected")
    assert [tuple(row) for row in rows] == [("second.csv:2", ["key.conflict"])]
    assert listener.stop() == 0


@pytest.fixture
async def house(postgres_dsn: str) -> AsyncIterator[House]:
    async with a_house(postgres_dsn) as house:
        yield house


async def test_a_rejected_line_is_replayed_with_its_line_and_its_bytes(house: House) -> None:
    chunk = "".join(line(number) for number in range(3)).replace(",21,", ",121,").replace(",22,", ",222,")
    frame = pl.DataFrame(
        [("x.csv:1", HEADER.encode()), ("x.csv:2", chunk.encode())], MESSAGE_SCHEMA, orient="row"
    )
    batch = RawBatch(
        dataset="file:sensors/**/*",
        messages=frame,
        received_at=START,
        received_until=START,
        layout=Layout(format=Format.CSV),
    )
    receipt = await house.take(batch)
    assert (receipt.accepted["sensor_readings"], receipt.rejected) == (1, 2)
    (replayed,) = await house.replay(150.0)
    assert (replayed.accepted["sensor_readings"], replayed.rejected) == (1, 1)
    row = await house.pool.fetchrow("SELECT * FROM sensor_readings WHERE raw_batch <> batch")
    assert row is not None
    key = {"device_id": row["device_id"], "timestamp": str(row["timestamp"])}
    message = await message_of_row(house.pool, key)
    assert (message.location, message.payload) == ("x.csv:3", chunk.encode().split(b"\n")[1])
    await house.books_hold()


async def message_of_row(pool: Pool, key: Mapping[str, str]) -> Message:
    message = (await trace(pool, CONTRACT, typed_key(CONTRACT, key))).message
    assert message is not None
    return message
