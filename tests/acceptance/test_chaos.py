"""A short run of `make chaos`: what is published while everything breaks is stored once, and proven."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = ("kill mqtt0", "mqtt1 at committed", "kill postgres", "kill relay")
"""Each once: a kill at any time of each kind, and one between COMMIT and acknowledgement."""
FAULTS = (*KILLS, "sequence behind", "file edited while read", "poison among good files")


@pytest.mark.timeout(600)
def test_nothing_is_lost_nothing_twice_while_everything_breaks(pytestconfig: pytest.Config) -> None:
    downloads = pytestconfig.rootpath / ".headwater" / "downloads"
    command = [sys.executable, "-m", "tests.chaos", "--seed", "11", "--rate", "200", "--longest", "2"]
    command += ["--ways", "mqtt", "files", "--faults", *FAULTS]
    with subprocess.Popen(
        [*command, "--cycles", str(len(FAULTS)), "--downloads", downloads],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            out, errors = process.communicate()
        finally:
            process.terminate()  # when we are interrupted, so that it ends what it started
    assert process.returncode == 0, out + errors
    figures = json.loads(out.splitlines()[-1])
    assert figures["ok"]
    assert figures["faults"] == dict.fromkeys(FAULTS, 1), errors
    assert figures["not_reached"] == {}
    assert (figures["cycles"], figures["kills"]) == (len(FAULTS), len(KILLS))
    assert figures["did"]["sequences set right"] == 1
    assert all(figures["by_way"][way] for way in ("mqtt", "files"))
    assert figures["published"] == figures["stored"] + figures["rejected"]
    assert figures["stored"] > figures["rejected"] > 0
    assert {figures[name] for name in ("lost", "duplicated", "unproven")} == {0}
