"""A short run of `make chaos`: what is published while everything breaks is stored once, and proven."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CYCLES = 6


@pytest.mark.timeout(600)
def test_nothing_is_lost_nothing_twice_while_everything_breaks(pytestconfig: pytest.Config) -> None:
    downloads = pytestconfig.rootpath / ".headwater" / "downloads"
    command = [sys.executable, "-m", "tests.chaos", "--seed", "11", "--cycles", str(CYCLES)]
    done = subprocess.run(
        [*command, "--downloads", downloads],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["cycles"] == CYCLES
    assert figures["published"] == figures["stored"] + figures["rejected"]
    assert figures["stored"] > figures["rejected"] > 0
    assert {figures[name] for name in ("lost", "duplicated", "unproven")} == {0}
