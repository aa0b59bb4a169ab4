"""Files that grow, followed by `headwater listen` as its users run it, killed where it hurts most."""

import asyncio
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from infra.local.addresses import Address
from infra.postgres import Connection, Pool, open_pool
from tasks.look.origin import Message
from tasks.look.row_key import typed_key
from tasks.look.trace import trace
from tests.acceptance.test_listen import prove
from tests.fixtures.commit import CONTRACT
from tests.fixtures.following import HEADER, Follow, append, append_slowly, folder, follow, line, lines
from tests.fixtures.headwater import Headwater, Process
from tests.fixtures.waiting import until_stored

__all__ = ["folder", "follow"]

ROWS = "SELECT count(*) FROM sensor_readings"
READ = "SELECT sum(read)::bigint FROM ledger"


async def followed(follow: Follow, **source: Any) -> Process:
    """A listener that looks at the folder."""
    listener = follow(**source)
    await asyncio.to_thread(listener.wait_for, "following files")
    return listener


async def stored_once(connection: Connection, rows: int) -> None:
    assert await connection.fetchval(ROWS) == rows
    assert await connection.fetchval("SELECT sum(duplicates)::bigint FROM ledger") == 0


async def test_lines_that_are_appended_with_pauses_are_stored_as_they_come_and_nothing_is_moved(
    follow: Follow, connection: Connection, postgres_dsn: str, folder: Path
) -> None:
    listener = await followed(follow)
    log = folder / "data.csv"
    append(log, HEADER)
    for number in range(4):
        append(log, line(number))
        await until_stored(connection, ROWS, number + 1)
        await asyncio.sleep(1.2)  # longer than `settle` of files that are archived
    append(log, "oops\n" + line(4))
    await until_stored(connection, ROWS, 5)
    await stored_once(connection, 5)
    assert await connection.fetchval("SELECT location FROM rejected") == "data.csv:6"
    assert log.read_text() == HEADER + lines(0, 4) + "oops\n" + line(4)
    assert names(folder) == ["data.csv"]
    async with open_pool(postgres_dsn, application="test") as pool:
        for number, at in ((0, 2), (3, 5), (4, 7)):
            message = await message_of_line(pool, number)
            assert message.location == f"data.csv:{at}"
            assert message.payload == line(number).encode().removesuffix(b"\n")
    assert listener.stop() == 0


async def message_of_line(pool: Pool, number: int) -> Message:
    device, timestamp, *_ = line(number).split(",")
    found = await trace(pool, CONTRACT, typed_key(CONTRACT, {"device_id": device, "timestamp": timestamp}))
    assert found.message is not None
    return found.message


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_killed_again_and_again_while_lines_are_appended_each_is_stored_once_and_proven(
    follow: Follow,
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    folder: Path,
    graph_address: Address,
) -> None:
    """Of two files, one CSV and one NDJSON; parts are small, so that a kill hits between them."""
    total, log, objects = 12_000, folder / "data.csv", folder / "more.ndjson"
    append(log, HEADER)

    async def write() -> None:
        for first in range(0, total, 60):
            append(log, lines(first, first + 60))
            append(objects, "".join(map(an_object, range(first, first + 20))))
            await asyncio.sleep(0.05)

    writing = asyncio.create_task(write())
    chance = random.Random(3)  # noqa: S311 - no secret
    while not writing.done():
        listener = await followed(follow, max_bytes=5_000)
        await asyncio.to_thread(listener.wait_until, "listening")
        before = await connection.fetchval("SELECT count(*) FROM ledger")
        await until_stored(connection, "SELECT count(*) FROM ledger", before + 1)
        await asyncio.sleep(chance.random())
        listener.kill()
    await writing
    listener = await followed(follow, max_bytes=5_000)
    wanted = total + total // 3
    await until_stored(connection, READ, wanted)
    await stored_once(connection, wanted)
    assert await connection.fetchval(READ) == wanted
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0
    assert await connection.fetchval("SELECT count(DISTINCT position_id) = count(*) FROM ledger")
    nexts = await connection.fetch(
        "SELECT split_part(mark, ' ', 1)::bigint AS next FROM store.progress "
        "JOIN store.followed_files ON file::text = part ORDER BY path"
    )
    assert [row["next"] for row in nexts] == [log.stat().st_size, objects.stat().st_size]
    assert listener.stop() == 0
    proof = prove(headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]


def an_object(number: int) -> str:
    device, timestamp, temperature, _ = line(number).split(",")
    record = {"device_id": f"o{device}", "timestamp": timestamp, "temperature": float(temperature)}
    return json.dumps(record) + "\n"


async def test_what_does_not_end_waits_without_limit_and_is_told(
    follow: Follow, connection: Connection, folder: Path
) -> None:
    listener = await followed(follow, unfinished="PT0.5S")
    half, quote = folder / "half.csv", folder / "quote.csv"
    whole, value = HEADER + line(0) + line(1, 19.75), line(1, 19.75).index("9.75")
    append(half, whole[: len(HEADER + line(0)) + value])
    named = HEADER.replace("humidity", "note")
    append(quote, named + line(2).replace("40.5", '"one\ntwo'))
    await until_stored(connection, ROWS, 1)
    await until_stored(connection, "SELECT count(*) FROM store.files_not_taken", 2)
    told = dict(await connection.fetch("SELECT path, why FROM store.files_not_taken"))
    assert all("no whole record yet" in why for why in told.values()), told
    await asyncio.sleep(2)
    assert await connection.fetchval(READ) == 1
    append(half, whole[len(HEADER + line(0)) + value :])
    append(quote, '\nthree"\n' + line(3))
    await until_stored(connection, ROWS, 4)
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0
    assert (
        await connection.fetchval("SELECT temperature FROM sensor_readings WHERE device_id = 'd1'") == 19.75
    )
    await asyncio.to_thread(listener.wait_until, "listening")
    assert await connection.fetchval("SELECT count(*) FROM store.files_not_taken") == 0
    assert listener.stop() == 0


async def test_a_file_that_is_rotated_is_read_to_its_end_and_the_new_one_from_its_header(
    follow: Follow,
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    folder: Path,
    graph_address: Address,
) -> None:
    """Three times: what is appended just before the renaming is under a name that does not fit."""
    listener = await followed(follow, pattern="*.csv", unfinished="PT1S")
    log, other = folder / "data.csv", HEADER.replace("temperature,humidity", "humidity,temperature")
    for turn in range(3):
        first = 10 * turn
        append(log, (HEADER if turn != 1 else other) + lines(first, first + 4))
        await until_stored(connection, ROWS, first + 4)
        append(log, lines(first + 4, first + 9) + line(first + 9).removesuffix("\n"))
        log.rename(folder / f"data.csv.{turn}")
        await until_stored(connection, ROWS, first + 10)
    await stored_once(connection, 30)
    assert await connection.fetchval("SELECT count(*) FROM sensor_readings WHERE temperature = 40.5") == 10
    assert await connection.fetchval("SELECT count(*) FROM rejected") == 0
    await until_stored(connection, "SELECT count(*) FROM store.followed_files WHERE left_at IS NOT NULL", 3)
    rows = await connection.fetch("SELECT number, seen_as FROM store.followed_files ORDER BY number")
    assert [tuple(row) for row in rows] == [(number, f"data.csv.{number - 1}") for number in (1, 2, 3)]
    assert listener.stop() == 0
    proof = prove(headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]


async def test_a_file_that_was_rotated_while_nobody_looked_is_known_again(
    follow: Follow, connection: Connection, folder: Path
) -> None:
    """Its rest is read under the new name; one that is gone is told, and one that moved is gone on with."""
    listener = await followed(follow, pattern="*.csv")
    for name, first in (("data.csv", 0), ("moved.csv", 100), ("gone.csv", 200)):
        append(folder / name, HEADER + lines(first, first + 5))
    await until_stored(connection, ROWS, 15)
    listener.kill()
    append(folder / "data.csv", lines(5, 8))
    (folder / "data.csv").rename(folder / "data.csv.1")
    append(folder / "data.csv", HEADER + lines(8, 10))
    copied(folder / "moved.csv", folder / "deep" / "moved.csv")  # another file, as in another container
    copied(folder / "deep" / "moved.csv", folder / "moved.csv")
    append(folder / "moved.csv", lines(105, 107))
    (folder / "gone.csv").unlink()
    listener = await followed(follow, pattern="*.csv")
    await until_stored(connection, ROWS, 22)
    await stored_once(connection, 22)
    told = dict(await connection.fetch("SELECT path, why FROM store.files_not_taken"))
    assert "it is gone" in told["gone.csv"]
    assert "a followed file is gone" in listener.log.read_text()
    assert listener.stop() == 0


def copied(source: Path, target: Path) -> None:
    """Instead of the source there is a file of the same bytes elsewhere on the disk."""
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(source.read_bytes())
    source.unlink()


async def test_a_file_that_is_deleted_is_read_to_its_end(
    follow: Follow, connection: Connection, folder: Path
) -> None:
    listener = await followed(follow, unfinished="PT0.5S", poll="PT2S")
    log = folder / "data.csv"
    append(log, HEADER + lines(0, 3))
    await until_stored(connection, ROWS, 3)
    append(log, lines(3, 6) + line(6).removesuffix("\n"))
    log.unlink()
    await until_stored(connection, ROWS, 7)
    await until_stored(connection, "SELECT count(*) FROM store.followed_files WHERE left_at IS NOT NULL", 1)
    assert listener.stop() == 0


async def test_a_file_that_is_truncated_or_edited_is_told_and_begun_anew(
    follow: Follow,
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    folder: Path,
    graph_address: Address,
) -> None:
    listener = await followed(follow)
    log = folder / "data.csv"
    append(log, HEADER + lines(0, 20))
    await until_stored(connection, ROWS, 20)
    log.write_text(HEADER + lines(20, 22))  # shorter
    await until_stored(connection, ROWS, 22)
    log.write_text(HEADER + lines(30, 60))  # longer, and the header is the same
    await until_stored(connection, ROWS, 52)
    assert listener.log.read_text().count("a followed file is another one") == 2
    told = await connection.fetchval("SELECT why FROM store.files_not_taken WHERE path = 'data.csv'")
    assert "are others than those that were read of it: it is read from its beginning" in told
    edit(log, line(40), line(40, 33.5))  # as many bytes, while we look
    await until_stored(connection, "SELECT count(*) FROM rejected", 1)
    listener.kill()
    edit(log, line(41), line(41, 33.5))  # as many bytes, while nobody looks; and it grows
    append(log, line(60))
    listener = await followed(follow)
    await until_stored(connection, ROWS, 53)
    assert "a followed file is another one" in listener.log.read_text()
    rules = await connection.fetch("SELECT location, rules FROM rejected ORDER BY location")
    assert rows_of(rules) == [
        ("data.csv:12", ["key.conflict"]),
        ("data.csv:13", ["key.conflict"]),
    ]
    numbers = await connection.fetch("SELECT number, left_at IS NULL FROM store.followed_files ORDER BY 1")
    assert [tuple(row) for row in numbers] == [*((n, False) for n in range(1, 5)), (5, True)]
    assert listener.stop() == 0
    proof = prove(headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]


def rows_of(found: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in found]


def edit(path: Path, before: str, after: str) -> None:
    """Write other bytes in their place; the file stays as long as it was."""
    assert len(before) == len(after)
    text = path.read_text()
    with path.open("r+") as file:
        file.seek(text.index(before))
        file.write(after)


async def test_poison_beside_a_good_file_ends_nothing_and_is_told(
    follow: Follow, connection: Connection, folder: Path
) -> None:
    (folder / "wide.csv").write_bytes((HEADER + line(3)).encode("utf-16"))
    (folder / "x.parquet").write_bytes(b"PAR1")
    append(folder / "near.csv", HEADER.replace("temperature", "Temperature") + line(1))
    append(folder / "twice.csv", HEADER.replace("humidity", "temperature") + line(1))
    append(folder / "none.csv", "a,b\n" + line(1))
    append(folder / "bad.ndjson", "[\n" + an_object(5) + "\x00\n")
    (folder / "link.csv").symlink_to(folder / "near.csv")
    listener = await followed(follow, max_bytes=1_000)
    good = folder / "good.csv"
    append(good, HEADER + line(0).removesuffix("\n"))
    append(good, "x" * 5_000 + "\n" + line(2))  # a record longer than a part
    await append_slowly(good, 10, 20, 0.1)
    await until_stored(connection, ROWS, 12)
    await until_stored(connection, "SELECT count(*) FROM rejected", 7)
    append(folder / "near.csv", line(2))
    await until_stored(connection, "SELECT count(*) FROM rejected", 8)
    rows = await connection.fetch("SELECT location, rules FROM rejected ORDER BY location")
    assert rows_of(rows) == [
        ("bad.ndjson:1", ["payload.json"]),
        ("bad.ndjson:3", ["payload.json"]),
        ("good.csv:2", ["humidity.type"]),
        ("near.csv:2", ["header.near"]),
        ("near.csv:3", ["header.near"]),
        ("none.csv:2", ["header.none"]),
        ("twice.csv:2", ["header.twice"]),
        ("wide.csv:1", ["payload.encoding"]),
    ]
    told = dict(await connection.fetch("SELECT path, why FROM store.files_not_taken"))
    assert told.keys() == {"x.parquet", "link.csv"}
    assert "does not grow" in told["x.parquet"]
    assert listener.stop() == 0


async def test_two_listeners_follow_a_folder_and_one_dies(
    follow: Follow, connection: Connection, folder: Path
) -> None:
    first, second = follow(), follow()
    for listener in (first, second):
        await asyncio.to_thread(listener.wait_until, "listening")
    files = [folder / f"{number}.csv" for number in range(4)]
    for path in files:
        append(path, HEADER)
    writing = [
        asyncio.create_task(append_slowly(path, 1_000 * at, 1_000 * at + 200))
        for at, path in enumerate(files)
    ]
    await until_stored(connection, ROWS, 200)
    first.kill()
    await asyncio.gather(*writing)
    await until_stored(connection, ROWS, 800)
    await stored_once(connection, 800)
    assert await connection.fetchval(READ) == 800
    assert second.stop() == 0


async def test_a_part_that_another_listener_overtook_is_dropped_and_reading_goes_on_behind_it(
    follow: Follow, connection: Connection, postgres_dsn: str, folder: Path
) -> None:
    """As a listener on another machine would, whose lock we do not see."""
    listener, log = await followed(follow), folder / "data.csv"
    append(log, HEADER + lines(0, 3))
    await until_stored(connection, ROWS, 3)
    taken = (HEADER + lines(0, 5)).encode()
    await connection.execute(
        "UPDATE store.progress SET mark = $1", f"{len(taken)} 7 {hashlib.sha256(taken).hexdigest()}"
    )
    append(log, lines(3, 9))
    await until_stored(connection, ROWS, 7)
    await asyncio.sleep(1)
    await stored_once(connection, 7)
    assert "is dropped" in listener.log.read_text()
    mark = await connection.fetchval("SELECT mark FROM store.progress")
    assert int(mark.split()[0]) == log.stat().st_size
    async with open_pool(postgres_dsn, application="test") as pool:
        assert (await message_of_line(pool, 8)).location == "data.csv:10"
    assert listener.stop() == 0


async def test_what_postgres_refuses_is_rejected_alone_and_the_rest_is_stored_once(
    follow: Follow, connection: Connection, folder: Path
) -> None:
    listener, log = await followed(follow), folder / "data.csv"
    await asyncio.to_thread(listener.wait_until, "listening")
    await connection.execute(
        """
        CREATE FUNCTION store.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'this one is not welcome' USING ERRCODE = '22000'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON store.sensor_readings FOR EACH ROW
        WHEN (NEW.device_id = 'd7') EXECUTE FUNCTION store.refuse()
        """
    )
    append(log, HEADER + lines(0, 40))
    await until_stored(connection, ROWS, 38)
    await until_stored(connection, "SELECT count(*) FROM rejected", 2)
    append(log, lines(41, 45))
    await until_stored(connection, ROWS, 42)
    assert await connection.fetchval(READ) == 44
    listener.kill()
    listener = await followed(follow)
    append(log, line(45))
    await until_stored(connection, ROWS, 43)
    assert "is another one" not in listener.log.read_text()  # the digest was kept through the halves
    await stored_once(connection, 43)
    assert listener.stop() == 0
