"""A stream of a user's own: one file beside the pipeline, and no line of ours."""

import json
import re
from pathlib import Path

import pytest

from flows.catalog import SHIPPED, read_directories
from flows.worker.deploy import ROOT
from infra.local.addresses import Address
from infra.postgres import Connection
from tests.acceptance.test_listen import prove
from tests.fixtures import catalogs
from tests.fixtures.headwater import Headwater
from tests.fixtures.waiting import until_stored


def line(number: int) -> str:
    return json.dumps({"number": number, "at": "2026-11-21T08:00:00Z"}) + "\n"


def from_the_page(what: str, said: str) -> str:
    """The one block of docs/sources.md that says so."""
    page = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    (found,) = (each for each in re.findall(rf"^```{what}\n(.*?)^```", page, re.M | re.S) if said in each)
    return str(found)


async def test_the_example_of_the_page_is_listened_to_and_read_on_after_it_was_killed(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    graph_address: Address,
    tmp_path: Path,
) -> None:
    notes, code = tmp_path / "notes", tmp_path / "code"
    notes.mkdir()
    code.mkdir()
    (code / "my_streams.py").write_text(from_the_page("python", "class Notes(Stream)"))
    said = from_the_page("yaml", "my_streams:Notes").replace("/srv/notes", str(notes))
    catalogs.written(tmp_path / "pipelines of ours" / "numbers" / "pipeline.yaml", said)
    settings = {
        "HEADWATER_POSTGRES_DSN": postgres_dsn,
        "HEADWATER_PIPELINES": str(tmp_path / "pipelines of ours"),
        "PYTHONPATH": str(code),
    }
    (notes / "a.txt").write_text("".join(map(line, range(5))) + "no number\n")
    listener = headwater("listen", "--pipeline", "numbers", **settings)
    await until_stored(connection, "SELECT sum(read)::bigint FROM ledger", 6)
    assert listener.health().get("state") == "listening"
    listener.kill()
    (notes / "b.txt").write_text(line(5))
    with (notes / "a.txt").open("a") as file:
        file.write(line(6))
    listener = headwater("listen", "--pipeline", "numbers", **settings)
    await until_stored(connection, "SELECT sum(read)::bigint FROM ledger", 8)
    assert listener.stop() == 0
    assert await connection.fetchval("SELECT array_agg(number ORDER BY number) FROM numbers") == [*range(7)]
    marks = await connection.fetch("SELECT dataset, part, mark FROM store.progress ORDER BY part")
    assert [tuple(row) for row in marks] == [("notes:notes", "a.txt", "7"), ("notes:notes", "b.txt", "1")]
    proof = prove(headwater, postgres_dsn, graph_address)
    assert proof["ok"], proof["differences"]


STREAM = """
from tasks.extract.{kind} import {name}
class Own({name}):
    dataset = property(lambda self: {dataset})
    def open(self, listening): ...
    def batches(self, reading): ...
"""


@pytest.mark.parametrize("kind", ["stream", "pull"])
@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        ("'mqtt:a/+'", "calls its dataset mqtt:a/+, and mqtt: is a scheme of ours: use another"),
        ("'kafka+west:orders'", "and kafka+west: is a scheme of ours"),
        ("'postgres:readings'", "and postgres: is a scheme of ours"),
        ("'file:a/*'", "and file: is a scheme of ours"),
        ("1 / 0", "has no name: ZeroDivisionError: division by zero"),
        ("'mine:kafka:a'", ""),
    ],
)
def test_a_source_that_takes_a_name_of_ours_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, dataset: str, why: str
) -> None:
    module = f"own_{kind}_{abs(hash(dataset))}"
    (tmp_path / f"{module}.py").write_text(STREAM.format(kind=kind, name=kind.capitalize(), dataset=dataset))
    monkeypatch.syspath_prepend(tmp_path)
    said = from_the_page("yaml", "my_streams:Notes").replace("my_streams:Notes", f"{module}:Own")
    said = said.replace(", folder: /srv/notes", "")
    catalogs.written(tmp_path / "own" / "numbers" / "pipeline.yaml", said)
    found = read_directories((SHIPPED, tmp_path / "own"))
    if why:
        (broken,) = found.broken
        assert why in broken.why
    else:
        assert found.broken == ()
        assert "numbers" in found.pipelines
