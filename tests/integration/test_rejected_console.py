"""`headwater rejected` and `headwater devices` as processes, on a real Postgres."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl

from infra.postgres import open_pool
from tasks.look.device_register import SCHEMA, read_devices
from tasks.transform.steps.lookup import DEVICES
from tests.fixtures.commit import a_batch, message
from tests.fixtures.headwater import Command, keys_of_commands
from tests.fixtures.replay import TOPIC, a_house

DIRTY = b'\xff\x00 "it\'s\\" {\n'


async def test_list_show_and_replay(command: Command, postgres_dsn: str, tmp_path: Path) -> None:
    async with a_house(postgres_dsn) as house:
        far = message("a", 1, temperature=150)
        first = await house.take(a_batch(far, message("a", 2), (TOPIC, DIRTY), message("a", 3, humidity=-1)))
        assert first.rejected == 3

        listed = command("rejected", "ls", "--format", "json", "--limit", "2")
        assert listed.returncode == 0, listed.stderr
        document = json.loads(listed.stdout)
        assert (document["total"], document["shown"], len(document["records"])) == (3, 2, 2)
        cut = command("rejected", "ls", "--limit", "1")
        assert b"1 of 3" in cut.stderr
        table = command("rejected", "ls", "--format", "csv", "--rule", "payload.utf8")
        (row,) = csv.DictReader(io.StringIO(table.stdout.decode()))
        assert (row["rules"], row["sequence"]) == ("payload.utf8", "2")

        shown = command("rejected", "show", row["identity"][:10])
        assert rb'\xff\x00 "it' + b"'s" + rb'\\" {\n' in shown.stdout
        assert b"payload.utf8" in shown.stdout
        assert command("rejected", "show", row["identity"], "--raw").stdout == DIRTY
        unknown = command("rejected", "show", "0" * 64)
        assert (unknown.returncode, unknown.stdout) == (2, b"")
        assert command("rejected", "show", "xyz").returncode == 2
        assert re.search(rb"^raw_batch +%d$" % first.batch, shown.stdout, re.M), (
            "its own batch holds its bytes"
        )
        assert command("rejected", "ls", "--since", "yesterday").returncode == 2
        assert command("rejected", "ls", "--stage", "bogus").returncode == 2
        typo = command("rejected", "ls", "--rule", "temperature.rang", "--dataset", "file:*.csv")
        assert typo.returncode == 0
        none, rules, datasets = typo.stderr.decode().splitlines()
        assert none == "No rejected record fits."
        assert "the rule temperature.rang; " in rules
        assert "temperature.range" in rules.partition("; ")[2]
        assert datasets.endswith("those there are: mqtt:sensors/+/readings.")
        decoded = command("rejected", "ls", "--rule", "payload.utf8", "--stage", "validate")
        assert (decoded.returncode, decoded.stderr) == (0, b"No rejected record fits.\n")
        for act in ("replay", "drop"):
            mistyped = command("rejected", act, "--rule", "temperature.rang")
            assert mistyped.returncode == 0
            assert mistyped.stderr.decode().splitlines() == [rules], act
            known = command("rejected", act, "--rule", "payload.utf8", "--stage", "validate")
            assert known.stderr == b"", act
        one = command("rejected", "drop", "--rule", "payload.utf8")
        assert b"\n1 record would be dropped.\n" in one.stdout
        assert one.stderr == b""

        dry = command("rejected", "replay", "--dry-run", "--json")
        assert json.loads(dry.stdout)["rejected"] == 3
        done = json.loads(command("rejected", "replay", "--json").stdout)
        assert (done["read"], done["rejected"], done["accepted"], done["unchanged"]) == (3, 3, 0, 0)
        again = json.loads(command("rejected", "replay", "--json").stdout)
        assert (again["read"], again["unchanged"]) == (0, 3)
        ledger = await house.pool.fetchrow("SELECT * FROM ledger WHERE raw_batch = $1", first.batch)
        assert (ledger["rejected"], ledger["way"]) == (3, "replay")
        await house.books_hold(keys_of_commands(tmp_path))


async def test_what_no_pipeline_reads_is_said(command: Command, postgres_dsn: str) -> None:
    async with a_house(postgres_dsn) as house:
        await house.take(replace(a_batch((TOPIC, b"{")), dataset="file:*.csv"))
    refused = command("rejected", "replay")
    assert refused.returncode == 2
    assert b"file:*.csv" in refused.stderr


async def test_the_register_is_loaded_and_read(command: Command, postgres_dsn: str, tmp_path: Path) -> None:
    assert DEVICES.row_schema == SCHEMA
    file = tmp_path / "devices.csv"
    file.write_text("device_id,name,site\nb,Probe B,Lyon\n007,,\n")
    loaded = command("devices", "load", str(file))
    assert loaded.stdout == b"2 devices read, 2 new or changed.\n", loaded.stderr
    lines = tmp_path / "more.jsonl"
    lines.write_text('{"device_id": "b", "name": "Probe B2", "model": "T1"}\n{"device_id": "c"}\n')
    assert command("devices", "load", str(lines)).stdout == b"2 devices read, 2 new or changed.\n"
    assert command("devices", "load", str(lines)).stdout == b"2 devices read, 0 new or changed.\n"
    rows = [("007", None, None, None), ("b", "Probe B2", "T1", None), ("c", None, None, None)]
    async with open_pool(postgres_dsn, application="test") as pool:
        assert (await read_devices(pool)).equals(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
    assert json.loads(command("devices", "ls", "--json").stdout)[1]["name"] == "Probe B2"
    file.write_text("device_id,name,site\na,Probe A,Lyon\nb,Probe B\n")
    short = command("devices", "load", str(file))
    assert (short.returncode, short.stdout) == (2, b"")
    assert b"line 3 has 2 cells and the header 3" in short.stderr
    file.write_text("device_id\na\nb\na\n")
    twice = command("devices", "load", str(file))
    assert (twice.returncode, twice.stderr.count(b"\n")) == (2, 1)
    assert b"more than once: a" in twice.stderr
