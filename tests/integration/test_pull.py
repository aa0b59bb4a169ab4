"""The port of a source that is asked, kept by a source in one file of a user's own; and its flow, by hand."""

import asyncio
import gc
import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from prefect.settings import temporary_settings
from pydantic import SecretStr

from flows.acts.asking import PullRequest
from flows.batch.pull import pull
from flows.catalog import SHIPPED, read_directories
from flows.process import stores
from flows.worker.deploy import ROOT
from flows.worker.runnable import descriptions
from infra.local.addresses import Address
from infra.postgres import Connection
from lineage.errors import RejectedError
from tasks.batch import MESSAGE_SCHEMA, Advance, RawBatch, Receipt
from tasks.extract.pull import Pull, Reading
from tasks.load import progress
from tasks.load.overtaken import OvertakenError
from tests.fixtures import catalogs
from tests.fixtures.from_bytes import House, a_house
from tests.fixtures.headwater import Headwater, Process
from tests.fixtures.lines_source import Lines
from tests.fixtures.prefect import at, variables

# Prefect leaves the socket of its events to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NUMBERS = """
doc: Numbers of a text file.
owner: us
source: {{type: "tests.fixtures.lines_source:Lines", path: "{path}"}}
schedule: {{cron: "*/10 * * * *", zone: Europe/Berlin}}
table:
  name: numbers
  key: [number, at]
  time: at
  columns:
    number: {{type: integer, minimum: 0}}
    at: {{type: timestamp}}
"""
ROWS = "SELECT array_agg(number ORDER BY number) FROM numbers"


def line(number: int) -> str:
    return json.dumps({"number": number, "at": "2026-11-21T08:00:00Z"}) + "\n"


def appended(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.txt"
    path.write_text("".join(map(line, range(10))))
    return path


@pytest.fixture
async def house(
    postgres_dsn: str, graph_address: Address, tmp_path: Path, file: Path
) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address, tmp_path) as house:
        catalogs.written(house.pipelines / "numbers" / "pipeline.yaml", NUMBERS.format(path=file))
        await stores.prepare_each(house.settings, [house.catalog.contracts["numbers"]])
        yield house


async def reading(house: House, source: Pull) -> AsyncIterator[RawBatch]:
    """From the mark that is kept, as the flow reads."""
    mark = await progress.mark(house.store.pool, "numbers", source.dataset)
    given = Reading(source.dataset, mark, lambda: datetime.now(UTC), lambda: SecretStr(""))
    async for batch in source.batches(given):
        yield batch


async def read_on(house: House, source: Pull, most: int = 100) -> list[Receipt]:
    """So many batches at most; as a process that then ends without a word."""
    receipts: list[Receipt] = []
    async for batch in reading(house, source):
        receipts.append(await house.take(batch, "numbers"))
        if len(receipts) == most:
            break
    return receipts


async def test_each_record_is_read_once_whatever_ends_between_two_commits(house: House, file: Path) -> None:
    source = Lines(type="lines", path=file)
    for ended_after in (1, 2, 1):
        assert len(await read_on(house, source, ended_after)) == ended_after
    assert await read_on(house, source) == []
    appended(file, line(10) + "no number\n")
    (receipt,) = await read_on(house, source)
    assert (receipt.read, receipt.accepted, receipt.rejected) == (2, {"numbers": 1}, 1)
    assert await house.value(ROWS) == list(range(11))
    assert await progress.mark(house.store.pool, "numbers", source.dataset) == "12"
    proof = await house.prove()
    assert proof.ok, proof.differences
    found = await house.value("SELECT array_agg(DISTINCT location) FROM rejected")
    assert found == ["numbers.txt:12"]


async def test_a_batch_whose_answer_was_lost_is_found_and_none_is_stored_twice(
    house: House, file: Path
) -> None:
    source = Lines(type="lines", path=file, most=10)
    (batch,) = [each async for each in reading(house, source)]
    first, again = await house.take(batch, "numbers"), await house.take(batch, "numbers")
    assert (again.way, again.batch) == ("repeat", first.batch)
    assert await house.value("SELECT count(*) FROM ledger WHERE read > 0") == 1


async def test_of_two_readers_one_is_overtaken(house: House, file: Path) -> None:
    slow, fast = Lines(type="lines", path=file, most=4), Lines(type="lines", path=file, most=5)
    late = [each async for each in reading(house, slow)]
    assert len(await read_on(house, fast)) == 2
    with pytest.raises(OvertakenError, match=r"Another reader has read lines:numbers\.txt from its beg"):
        await house.take(late[0], "numbers")
    with pytest.raises(OvertakenError, match="from 4 on"):
        await house.take(late[1], "numbers")
    assert await house.value(ROWS) == list(range(10))
    proof = await house.prove()
    assert proof.ok, proof.differences


def test_a_mark_moves_with_each_batch() -> None:
    reading = Reading("lines:a", "3", lambda: datetime.now(UTC), lambda: SecretStr(""))
    messages = pl.DataFrame({"location": ["a:4"], "payload": [b"{}"]}, MESSAGE_SCHEMA)
    assert reading.batch(messages, "4", datetime.now(UTC)).progress == (Advance("3", "4"),)
    with pytest.raises(RejectedError, match="lines:a gave a batch whose mark is '4', as before"):
        reading.batch(messages, "4", datetime.now(UTC))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("class Lines(:", "cannot be loaded: SyntaxError"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("Lines = 3", "is no class of tasks.extract.pull.Pull or tasks.extract.stream.Stream: let it be one"),
        ("", "cannot be loaded: AttributeError"),
    ],
)
def test_a_module_that_is_broken_is_told_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    name = f"broken_{uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    said = NUMBERS.format(path="a").replace("tests.fixtures.lines_source", name)
    catalogs.written(tmp_path / "own" / "numbers" / "pipeline.yaml", said)
    found = read_directories((SHIPPED, tmp_path / "own"))
    (broken,) = found.broken
    assert why in broken.why
    assert "sensors" in found.pipelines


async def test_what_is_read_anew_is_stored_already_and_the_mark_comes_to_its_end(
    house: House, file: Path
) -> None:
    source = Lines(type="lines", path=file)
    await read_on(house, source)
    await house.connection.execute("DELETE FROM store.progress")
    proof = await house.prove()
    assert proof.differences == ("progress: lines:numbers.txt was read by numbers, and nobody says how far",)
    assert {receipt.way for receipt in await read_on(house, source)} == {"repeat"}
    await house.connection.execute("UPDATE store.progress SET mark = '3'")
    proof = await house.prove()
    assert proof.differences == (
        "progress: lines:numbers.txt is read on by numbers at 3, and what was committed ends at 10",
    )
    receipts = await read_on(house, Lines(type="lines", path=file, most=4))
    assert sum(receipt.duplicates for receipt in receipts) == 7
    assert await house.value(ROWS) == list(range(10))
    proof = await house.prove()
    assert proof.ok, proof.differences


async def test_the_example_of_the_page_is_a_source(
    house: House, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    of = {kind: re.findall(rf"^```{kind}\n(.*?)^```", page, re.M | re.S) for kind in ("python", "yaml")}
    (code,) = (block for block in of["python"] if "class Lines(Pull)" in block)
    (said,) = (block for block in of["yaml"] if "my_sources:Lines" in block)
    (tmp_path / "my_sources.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    catalogs.written(
        house.pipelines / "numbers" / "pipeline.yaml", said.replace("/srv/numbers.txt", str(file))
    )
    source = house.catalog.pipeline("numbers").source
    assert isinstance(source, Pull)
    assert len(await read_on(house, source)) == 4
    assert await house.value(ROWS) == list(range(10))


def test_a_schedule_does_not_say_what_a_run_must_be_told(tmp_path: Path) -> None:
    said = NUMBERS.format(path="a.txt").replace(":Lines", ":LinesOf")
    catalogs.written(tmp_path / "numbers" / "pipeline.yaml", said)
    why = "each run of its source is told folder, which a schedule does not say"
    assert why in catalogs.why_not(tmp_path)


async def test_a_run_reads_on_what_it_is_told_and_each_has_a_mark_of_its_own(
    connection: Connection,
    postgres_dsn: str,
    prefect_server: Address,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = NUMBERS.format(path=tmp_path / "numbers.txt").replace(":Lines", ":LinesOf")
    said = re.sub("schedule.*\n", "", said)
    catalogs.written(tmp_path / "pipelines of ours" / "numbers" / "pipeline.yaml", said)
    for name, value in {
        "HEADWATER_POSTGRES_DSN": postgres_dsn,
        "HEADWATER_PIPELINES": str(tmp_path / "pipelines of ours"),
        "HEADWATER_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "numbers.txt").write_text(line(number))

    async def run(folder: str) -> str:
        return await pull(PullRequest.model_validate({"pipeline": "numbers", "folder": folder}))

    with temporary_settings(at(prefect_server)):
        assert [(await run(folder)).split(":")[0] for folder in ("a", "b")] == ["Read 1 in 1 batch"] * 2
        assert await run("a") == "Nothing new of lines:a/numbers.txt."
        appended(tmp_path / "b" / "numbers.txt", line(2))
        assert "1 accepted" in await run("b")
    gc.collect()
    marks = await connection.fetch("SELECT dataset, mark FROM store.progress ORDER BY dataset")
    assert [tuple(row) for row in marks] == [("lines:a/numbers.txt", "1"), ("lines:b/numbers.txt", "2")]


async def test_the_flow_reads_to_the_end_each_time_it_is_run(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    prefect_server: Address,
    tmp_path: Path,
    file: Path,
) -> None:
    folder = tmp_path / "pipelines of ours"
    catalogs.written(folder / "numbers" / "pipeline.yaml", NUMBERS.format(path=file))
    settings = {
        "HEADWATER_POSTGRES_DSN": postgres_dsn,
        "HEADWATER_PIPELINES": str(folder),
        "PYTHONPATH": str(ROOT),
        **variables(prefect_server),
    }

    def run(*arguments: str) -> Process:
        process = headwater("run", *arguments, **os.environ | settings)
        process.process.wait(120)
        return process

    assert "Read 10 in 4 batches: 10 accepted, 0 rejected, 0 duplicates" in run("numbers").log.read_text()
    appended(file, "no number\n")
    assert "Read 1 in 1 batch: 0 accepted, 1 rejected" in run("numbers").log.read_text()
    assert await connection.fetchval(ROWS) == list(range(10))
    kinds = await connection.fetch("SELECT DISTINCT pipeline, dataset FROM ledger WHERE read > 0")
    assert [tuple(row) for row in kinds] == [("numbers", "lines:numbers.txt")]
    there = catalogs.read(folder)
    assert descriptions(there)["numbers"] == "Numbers of a text file."
    await asyncio.to_thread(file.unlink)
    failed = run("numbers")
    assert failed.process.returncode == 3
    assert "the text file is unavailable: it is not there. Write it." in failed.log.read_text()
