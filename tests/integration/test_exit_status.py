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


def headwater(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    unset = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return subprocess.run(
        [COMMAND, *command.split()],
        cwd=home,
        env={**unset, "HEADWATER_METRICS_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", NEEDS_A_SERVICE)
def test_a_service_that_is_not_there_is_away(command: str, tmp_path: Path) -> None:
    done = headwater(command, tmp_path)
    assert done.returncode == 3, done.stderr
    assert "none is set and no local one is running" in done.stdout + done.stderr


def test_a_proof_of_everything_since_a_time_is_refused(tmp_path: Path) -> None:
    done = headwater("prove --full --since 2026-11-21", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "--full reads everything and --since a part of it: give one of them." in done.stderr
