"""`headwater run` as its users type it, on a Prefect server."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from flows.worker.runnable import descriptions
from infra.local.addresses import Address
from infra.postgres import Connection
from tests.fixtures import catalogs
from tests.fixtures.aggregates import reading
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import a_batch, a_way, message
from tests.fixtures.derived import DOC, a_lab, day
from tests.fixtures.graph import graph_settings
from tests.fixtures.headwater import COMMAND
from tests.fixtures.prefect import variables

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(postgres_dsn: str, prefect_server: Address, graph_address: Address, tmp_path: Path) -> Run:
    settings = {
        "HEADWATER_HOME": str(tmp_path / "home"),
        "HEADWATER_POSTGRES_DSN": postgres_dsn,
        **variables(prefect_server),
        "HOME": str(tmp_path),
        **graph_settings(graph_address),
    }

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command, environment = [COMMAND, "run", *arguments], {**os.environ, **settings}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_a_robot_that_is_not_there_is_said_before_the_run_begins(run: Run) -> None:
    done = run("experiments", "--set", "robot=ot2", "--set", f"experiment_id={uuid4()}")
    assert done.returncode == 2
    assert done.stderr == "There is no robot 'ot2' in HEADWATER_ROBOTS (there: none): add it.\n"


def test_without_a_name_the_flows_are_listed(run: Run) -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    assert {line.split()[0]: line.split(maxsplit=1)[1] for line in done.stdout.splitlines()} == descriptions(
        SHIPPED
    )


def test_what_became_of_a_run_is_one_sentence(run: Run) -> None:
    done = run("partitions")
    assert done.stdout.startswith("Ready for the days to come: experiment")
    assert done.stderr.count("View at") == 1


@pytest.mark.parametrize("name", ["partitions", "aggregates"])
async def test_all_is_done_but_for_tables_that_are_broken_and_the_run_fails(
    run: Run, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    catalogs.written(tmp_path / "own" / "meters" / "tables" / "meters.yaml", "nam: meters\n")
    monkeypatch.setenv("HEADWATER_PIPELINES", str(tmp_path / "own"))
    done = run(name)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Done, but for tables that are broken: ")
    assert "own/meters/tables/meters.yaml: " in last
    assert "did you mean name?" in last
    assert await connection.fetchval("SELECT to_regclass('store.sensor_readings')") is not None


async def test_a_proof_with_differences_counts_all_of_them(
    run: Run, postgres_dsn: str, tmp_path: Path
) -> None:
    async with a_way(postgres_dsn) as way:
        await way.take(a_batch(message("a", 1)))
        await way.pool.execute("UPDATE store.sensor_readings SET temperature = 99")
    done = run("proof")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("1 batch, 1 row, 0 rejected records, ")
    assert last.endswith("`headwater prove` lists them.")
    assert not (tmp_path / ".prefect" / "storage").exists()


async def test_derived_tables_of_ones_own_are_made_as_the_page_says(
    run: Run, postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_PIPELINES", str(a_lab(tmp_path)))
    command, said = re.findall(r"^\$ headwater (run .*)\n(.*)$", DOC.read_text(encoding="utf-8"), re.M)[0]
    async with a_way(postgres_dsn) as way:
        probe, other = (
            [reading("probe-1", day(20, 8, minute)) for minute in (1, 2)],
            [reading("b", moment) for moment in (day(19), day(20, 8, 2))],
        )
        await way.take(a_batch(*probe, *other))
        done = run(*command.split()[1:])
        assert done.stdout.startswith(f"{said}\n"), done.stderr
        assert await way.value("SELECT count(*) FROM device_minutes") == 4
