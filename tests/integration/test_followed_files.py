"""Files that grow, followed by `headwater listen` as its users run it, killed where it hurts most."""

import asyncio
from pathlib import Path

from infra.postgres import Connection, Pool, open_pool
from tasks.load.origin import Message
from tasks.load.row_key import typed_key
from tasks.load.trace import trace
from tests.fixtures.commit import CONTRACT
from tests.fixtures.following import (
    HEADER,
    Follow,
    append,
    folder,
    follow,
    line,
    lines,
)
from tests.fixtures.waiting import until_stored

__all__ = ["folder", "follow"]

ROWS = "SELECT count(*) FROM sensor_readings"
READ = "SELECT sum(read)::bigint FROM ledger"


async def stored_once(connection: Connection, rows: int) -> None:
    assert await connection.fetchval(ROWS) == rows
    assert await connection.fetchval("SELECT sum(duplicates)::bigint FROM ledger") == 0


async def test_lines_that_are_appended_with_pauses_are_stored_as_they_come_and_nothing_is_moved(
    follow: Follow, connection: Connection, postgres_dsn: str, folder: Path
) -> None:
    listener = follow()
    await asyncio.to_thread(listener.wait_until, "listening")
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
