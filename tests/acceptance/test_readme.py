"""Every command of the README, as a newcomer types them, in a directory with a space in its name."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fixtures.headwater import COMMAND

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line.partition("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith(".venv/bin/headwater ")]
DOCUMENTED = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "a place"
    place.mkdir()
    yield place
    run(place, "down")


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], cwd=place, capture_output=True, text=True, timeout=420, check=False
    )


def processes(place: Path) -> list[psutil.Process]:
    """Everything that was started for this place and still runs."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        facts = process.info
        if any(str(place) in str(part) for part in [facts["cwd"], *(facts["cmdline"] or [])]):
            found.append(process)
    return found


def test_the_only_other_commands_are_makes_own() -> None:
    others = [line for line in LINES if line and line not in COMMANDS]
    assert others == ["make demo", "make test"]


@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_work_in_their_order(place: Path) -> None:
    assert COMMANDS[0].endswith(" up")
    assert COMMANDS[-1].endswith(" down")
    outputs = {}
    for command in COMMANDS:
        done = run(place, *command.split()[1:])
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        outputs[command.split()[1]] = done.stdout
        if command.endswith(" up"):
            again = json.loads(run(place, "up", "--json").stdout)
            assert all(address["url"] in outputs["up"] for address in again), "a second start reuses them"
    assert "500 published" in outputs["simulate"]
    assert "no difference" in outputs["prove"]
    assert "mqtt:sensors/+/readings" in outputs["audit"]
    assert "temperature.range" in outputs["rejected"]
    assert "listening" in outputs["status"]
    assert "✗" not in outputs["doctor"]
    assert processes(place) == []


@pytest.mark.timeout(900)
def test_the_demo_ends_with_a_proof_and_leaves_nothing_running(place: Path) -> None:
    done = run(place, "demo")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "4,000 readings" in done.stdout
    assert re.search(r"experiments +3 rows", done.stdout)
    assert re.search(r"by schedule +Completed", done.stdout)
    assert re.search(r"by trigger +Completed", done.stdout)
    assert re.search(r"^  \d{1,3} batches, 4,\d{3} rows, .*: no differences$", done.stdout, re.MULTILINE), (
        "all of it"
    )
    assert processes(place) == []


def test_every_command_is_documented() -> None:
    names = set(re.findall(r"`headwater ([a-z]+)", DOCUMENTED))
    shown = run(ROOT, "--help").stdout
    there = set(re.findall(r"^  (\w+) {2,}\w", shown, re.MULTILINE))
    assert there
    assert there == names
