"""docs/graph.md: every command it names, run by `headwater` itself, and its Cypher example as an audit."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.local.addresses import Address
from lineage import relay
from tests.fixtures.catalogs import pipeline
from tests.fixtures.commit import Way, a_batch, a_plan, message
from tests.fixtures.graph import graph_settings
from tests.fixtures.headwater import COMMAND
from tests.fixtures.proof import House, a_house

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "graph.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|cypher)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TEXT = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
LINES = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
SPANS = [" ".join(span.split()) for span in re.findall(r"`(headwater [^`]+)`", TEXT)]
COMMANDS = tuple(dict.fromkeys(LINES + SPANS))
TIME = re.compile(r"\b2026-11-[0-9]{2}(T[0-9:]+)?")
ELSEWHERE = {
    "headwater relay": "acceptance/test_relay_process.py",
    "headwater trace": "integration/test_trace.py",
    "headwater doctor": "integration/test_doctor.py",
    "headwater status": "integration/test_status.py",
    "headwater restored": "integration/test_restored.py",
    "headwater graph diff A B": "acceptance/test_graph_commands.py",
}
"""What the page only mentions, and which test runs it."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True, slots=True)
class Place:
    """Readings whose versions are those of today's pipeline, their graph, and the command."""

    house: House
    run: Run
    before: str  # a time before anything was known
    after: str  # a time after everything was


@pytest.fixture
async def place(postgres_dsn: str, graph_address: Address, tmp_path: Path) -> AsyncIterator[Place]:
    def run(command: str, *, library: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        environment = {
            **os.environ,
            **graph_settings(graph_address),
            "HEADWATER_POSTGRES_DSN": postgres_dsn,
            "HEADWATER_HOME": str(tmp_path / "home"),
            "PYTHONPATH": f"{library}{os.pathsep}{ROOT}",
        }
        return subprocess.run(
            [COMMAND, *shlex.split(command)[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    before = datetime.now(UTC) - timedelta(days=30)
    sensors = pipeline("sensors")
    plan = replace(a_plan(), transformation=sensors.transformation(), columns=sensors.columns)
    async with a_house(postgres_dsn, graph_address) as house:
        way = Way(house.way.store, house.way.pool, plan)
        received = datetime.now(UTC)
        for second in range(2):
            batch = a_batch(message("a", second), message("b", second, humidity=40))
            await way.take(replace(batch, received_at=received, received_until=received))
        await relay.catch_up(house.connection, house.graph)
        yield Place(
            house,
            run,
            f"{before:%Y-%m-%dT%H:%M}",
            f"{datetime.now(UTC) + timedelta(minutes=1):%Y-%m-%dT%H:%M}",
        )


def only(pattern: str) -> str:
    """The one command of the page that fits."""
    (found,) = [command for command in COMMANDS if re.fullmatch(pattern, command)]
    return found


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    own = Path(__file__).read_text(encoding="utf-8")
    patterns = [re.compile(pattern) for pattern in re.findall(r'only\(r"(.+?)"\)', own)]
    assert len(COMMANDS) >= 10
    for command in COMMANDS:
        if command in ELSEWHERE:
            other = (ROOT / "tests" / ELSEWHERE[command]).read_text(encoding="utf-8")
            assert re.search(rf"\b{command.split()[1]}\b", other), command
        else:
            assert any(pattern.fullmatch(command) for pattern in patterns), command


async def test_the_audits_of_the_page_answer_as_of_now_and_then(place: Place) -> None:
    made_of = only(r"headwater audit column-upstream \S+ \S+dew_point")
    now = place.run(f"{made_of} --format csv")
    assert now.returncode == 0, now.stderr
    assert "mqtt:sensors/+/readings.humidity" in now.stdout
    assert "mqtt:sensors/+/readings.temperature" in now.stdout
    for command in (
        only(r"headwater audit column-upstream .* --as-of \S+"),
        only(r"headwater audit upstream .* --known-at \S+"),
    ):
        past, present = (
            place.run(f"{TIME.sub(moment, command)} --format json") for moment in (place.before, place.after)
        )
        assert (past.returncode, present.returncode) == (0, 0), past.stderr + present.stderr
        assert json.loads(past.stdout)["rows"] == []
        assert json.loads(present.stdout)["rows"]
    listed = place.run(only(r"headwater audit"))
    assert listed.returncode == 0
    assert {"column-upstream", "upstream", "blame"} <= {
        line.split()[0] for line in listed.stdout.splitlines()
    }


async def test_a_table_has_no_column_that_says_nothing(place: Place) -> None:
    datasets = place.run("headwater audit upstream --param key=postgres:sensor_readings")
    assert datasets.stdout.splitlines()[0].split() == ["key", "dataset"]
    batches = place.run("headwater audit upstream --param key=postgres:sensor_readings#1")
    assert batches.stdout.splitlines()[0].split() == ["key", "dataset", "rows"]
    assert batches.stdout.splitlines()[1].split()[-1] == "2"  # messages


async def test_a_question_of_your_own(place: Place) -> None:
    asked = place.run(only(r"headwater query 'MATCH \(d.+'") + " --format csv")
    assert asked.returncode == 0, asked.stderr
    assert "postgres:sensor_readings" in asked.stdout.splitlines()
    refused = place.run("headwater query 'MATCH (d:Dataset) DETACH DELETE d'")
    assert refused.returncode == 2
    assert "The query was not run" in refused.stderr
    misspelt = place.run("headwater query 'MATCH (d:Dataset RETURN'")
    assert misspelt.returncode == 2
    assert "RETURN" in misspelt.stderr, "it says where"


async def test_the_proofs_say_what_they_read_and_find_what_was_done(place: Place) -> None:
    assert "`--full`" in PAGE
    assert "`--since T`" in PAGE
    plain = only(r"headwater prove")
    full, since = f"{plain} --full", f"{plain} --since {place.before}"
    edges = await place.house.way.value("SELECT count(*) FROM lineage_log")
    for command in (plain, full, since):
        done = place.run(command)
        assert done.returncode == 0, done.stdout + done.stderr
        said = f"2 batches, 4 rows, 0 rejected records, {edges} edges: no differences\n"
        assert done.stdout.endswith(said)
    assert "0 batches" in place.run(plain).stdout  # nothing is new since the last one
    await place.house.tamper(
        "sensor_readings", "UPDATE store.sensor_readings SET temperature = 1 WHERE batch = 2"
    )
    assert place.run(plain).returncode == 0
    for command in (full, since):
        found = place.run(command)
        assert found.returncode == 1
        assert "sensor_readings, batch 2: the values of its 2 row(s)" in found.stdout


async def test_the_graph_is_made_again_and_two_states_are_compared(place: Place) -> None:
    compare = only(r"headwater graph diff \S+ sensors")
    same = place.run(TIME.sub(place.after, compare))
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.startswith("0 added, 0 removed, 0 changed")
    changed = place.run(TIME.sub(place.before, compare))
    assert changed.returncode == 1
    assert "+ mqtt:sensors/+/readings.humidity → postgres:sensor_readings.dew_point" in changed.stdout
    version = pipeline("sensors").transformation().id
    assert version.startswith("sensors@")
    assert place.run(f"headwater graph diff {version} sensors").returncode == 0
    await place.house.in_graph("MATCH (n) DETACH DELETE n")
    unknown = place.run("headwater graph diff sensors sensors@nothing")
    assert unknown.returncode == 2
    lists = only(r"headwater query 'MATCH \(t.+'")
    assert lists in unknown.stderr
    rebuilt = place.run(only(r"headwater graph rebuild"))
    entries = await place.house.way.value("SELECT count(*) FROM lineage_log")
    assert rebuilt.stdout == f"carried {entries:,} entries of the record\n"
    assert place.run(TIME.sub(place.after, compare)).returncode == 0
    assert version in place.run(f"{lists} --format csv").stdout.splitlines()


async def test_the_example_dropped_into_the_folder_is_an_audit(place: Place, tmp_path: Path) -> None:
    """In a copy of the engine, as the folder of everybody else's tests is not ours."""
    (example,) = [block for kind, block in BLOCKS if kind == "cypher"]
    assert "`lineage/audits/`" in PAGE
    shutil.copytree(ROOT / "lineage", tmp_path / "mine" / "lineage")
    (tmp_path / "mine" / "lineage" / "audits" / "large.cypher").write_text(example, encoding="utf-8")
    mine = tmp_path / "mine"
    assert example.splitlines()[0].removeprefix("// ") in place.run("headwater audit", library=mine).stdout
    ask = "headwater audit large --param dataset=postgres:sensor_readings --format csv"
    assert place.run(ask, library=mine).stdout.split() == ["key,rows"]  # none has more than the default
    large = place.run(f"{ask} --param rows=1", library=mine)
    batches = {f"postgres:sensor_readings#{number},2" for number in (1, 2)}
    assert set(large.stdout.split()) == {"key,rows", *batches}
    assert place.run(ask).returncode == 2, "only there"
