"""With nothing set and nothing running, every command says the same and ends the same."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.headwater import COMMAND

NEEDS_A_SERVICE = (
    "doctor",
    "status",
    "listen",
    "relay",
    "serve",
    "prove",
    "rejected ls",
    "devices ls",
    "audit upstream --param key=postgres:sensor_readings",
    "run partitions",
    "simulate devices --count 1",
)


def headwater(command: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    unset = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return subprocess.run(
        [COMMAND, *command.split()],
        cwd=home,
        env={**unset, "HEADWATER_METRICS_PORT": "0", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", NEEDS_A_SERVICE)
def test_a_service_that_is_not_there_is_away(command: str, tmp_path: Path) -> None:
    done = headwater(command, tmp_path)
    assert done.returncode == 3, done.stderr
    assert "no address is set and no local one is running" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("prove --since yesterday", "--since 'yesterday' is no time: write 2026-11-21T08:00, in UTC\n"),
        ("demo --graph bogus", "--graph takes embedded or neo4j, not 'bogus'.\n"),
        ("devices load /nofile.csv", "/nofile.csv cannot be read: No such file or directory.\n"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(command: str, sentence: str, tmp_path: Path) -> None:
    done = headwater(command, tmp_path)
    assert (done.returncode, done.stderr) == (2, sentence)


def test_a_server_where_nothing_listens_is_told_with_what_to_do(tmp_path: Path) -> None:
    url = {
        "HEADWATER_POSTGRES_DSN": "postgresql://me@127.0.0.1:9/x",
        "HEADWATER_GRAPH_URI": "bolt://127.0.0.1:9",
    }
    done = headwater("rejected ls", tmp_path, **url)
    assert done.returncode == 3
    assert done.stderr.endswith(". Start it, or correct HEADWATER_POSTGRES_DSN.\n")
    asked = headwater("query RETURN", tmp_path, **url)
    assert asked.stderr.endswith(". Start it, or correct HEADWATER_GRAPH_URI.\n")
    looked = headwater("doctor", tmp_path, **url)
    assert "Postgres: it is unavailable: " in looked.stdout
    assert "Postgres is unavailable" not in looked.stdout


def test_a_proof_of_everything_since_a_time_is_refused(tmp_path: Path) -> None:
    done = headwater("prove --full --since 2026-11-21", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "--full reads everything and --since a part of it: give one of them." in done.stderr
