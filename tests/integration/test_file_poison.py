"""Whatever lies in a folder: the listener goes on, nothing is lost, and all of it is told."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from infra.postgres import Connection, open_pool
from tasks.look.rejected_queries import Which, list_rejected, show_rejected
from tests.fixtures.headwater import COMMAND, Headwater
from tests.fixtures.waiting import until, until_stored
from tests.integration.test_files import HEADER, START, archived, line, lines, listen, root

__all__ = ["listen", "root"]

ROW = "SELECT count(*) FROM sensor_readings"


def a_bomb(path: Path) -> None:
    """A hundred thousand rows, each of the same mebibyte."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * (1 << 20)]))
    names = ["device_id", "timestamp"]
    pq.write_table(pa.table([texts, texts], names), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 20_000


async def test_poison_of_any_kind_ends_nothing_and_is_told(
    listen: Headwater, connection: Connection, postgres_dsn: str, root: Path, tmp_path: Path
) -> None:
    inbox = root / "sensors"
    (inbox / "Kälte\udcfc.csv").write_text(HEADER + line(0) + "oops\n")
    a_bomb(inbox / "bomb.parquet")
    (inbox / ("l" * 251 + ".csv")).write_text(HEADER + line(1))
    (inbox / "LOG0001.CSV").write_text(HEADER + line(2))
    (inbox / "object.csv").write_text(json.dumps({"device_id": "j", "timestamp": START.isoformat()}))
    (inbox / "wide.csv").write_bytes((HEADER + line(3)).encode("utf-16"))
    (tmp_path / "secret").write_text("root:x:0:0:root\n")
    (inbox / "link.csv").symlink_to(tmp_path / "secret")
    (inbox / "notes.txt").write_text("not ours")
    listener = listen()
    for name in ("Kälte\udcfc.csv", "bomb.parquet", "l" * 251 + ".csv", "LOG0001.CSV", "wide.csv"):
        await archived(root, name)
    (inbox / ("l" * 251 + ".csv")).write_text(HEADER + line(4))
    await until_stored(connection, ROW, 4)
    await archived(root, "object.csv")
    rows = await connection.fetch("SELECT location, rules FROM rejected ORDER BY location")
    assert {row["location"]: row["rules"] for row in rows} == {
        "Kälte\\xfc.csv:3": ["payload.cells"],
        "bomb.parquet:1": ["payload.parquet"],
        "object.csv:1": ["header.none"],
        "wide.csv:1": ["payload.encoding"],
    }
    await until(lambda: len(list((root / "sensors-archive").glob("l*"))) == 2)
    told = {"link.csv": "symbolic link", "notes.txt": "ends in none of"}
    for command in ("status", "doctor"):
        arguments = [COMMAND, command]
        environment = {**os.environ, "HEADWATER_POSTGRES_DSN": postgres_dsn}
        done = await asyncio.to_thread(
            subprocess.run,
            arguments,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert all(name in done.stdout and why in done.stdout for name, why in told.items()), done.stdout
    assert listener.stop() == 0


async def test_a_binary_file_is_one_rejected_record_however_many_line_ends_it_holds(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    content = b"BIN\x00\x01\x1b" + bytes(range(1, 256)) * 20 + b"\n"
    (root / "sensors" / "binary.csv").write_bytes(content)
    listener = listen()
    await archived(root, "binary.csv")
    (row,) = await connection.fetch("SELECT rules, message FROM rejected")
    assert row["rules"] == ["header.none"]
    assert r"(BIN\x00\x01\x1b\x01" in row["message"]
    assert await connection.fetchval("SELECT count(*) FROM ledger") == 1
    assert listener.stop() == 0


async def test_a_header_that_nearly_fits_stores_no_nulls_and_its_bytes_are_kept(
    listen: Headwater, connection: Connection, postgres_dsn: str, root: Path
) -> None:
    inbox, rows = root / "sensors", lines(0, 3)
    (inbox / "case.csv").write_text(HEADER.replace("temperature", "Temperature") + rows)
    (inbox / "twice.csv").write_text(HEADER.replace("humidity", "temperature") + rows)
    frame = pl.DataFrame({"device_id": ["p"], "timestamp": [START], "Temperature": [21.5]})
    frame.write_parquet(inbox / "case.parquet")
    listener = listen()
    for name in ("case.csv", "twice.csv", "case.parquet"):
        await archived(root, name)
    assert await connection.fetchval(ROW) == 0
    async with open_pool(postgres_dsn, application="test") as pool:
        records = {each["location"]: each for each in (await list_rejected(pool, Which(), 9)).records}
        assert {location: each["rules"] for location, each in records.items()} == {
            "case.csv:2": ["header.near"],
            "twice.csv:2": ["header.twice"],
            "case.parquet:1": ["header.near"],
        }
        shown = await show_rejected(pool, str(records["case.csv:2"]["identity"]))
        assert shown.payload == rows.encode()
    assert "'Temperature' like 'temperature'" in await connection.fetchval(
        "SELECT message FROM rejected WHERE location = 'case.csv:2'"
    )
    assert listener.stop() == 0


async def test_who_stalls_in_the_middle_of_a_number_is_waited_for(
    listen: Headwater, connection: Connection, root: Path
) -> None:
    listener = listen()
    await asyncio.to_thread(listener.wait_until, "listening")
    whole = HEADER + line(0).replace(",20,", ",19.75,") + line(1)
    middle = whole.index("9.75")
    with (root / "sensors" / "slow.csv").open("w") as file:
        file.write(whole[:middle])
        file.flush()
        await asyncio.sleep(5)
        assert await connection.fetchval("SELECT count(*) FROM ledger") == 0
        file.write(whole[middle:])
    await archived(root, "slow.csv")
    values = await connection.fetch("SELECT temperature FROM sensor_readings ORDER BY timestamp")
    assert [row["temperature"] for row in values] == [19.75, 21.0]
    assert listener.stop() == 0
