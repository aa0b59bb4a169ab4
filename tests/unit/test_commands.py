"""The table of commands: what is told of each without loading it is what it says itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.cli.app import app
from console.cli.commands import COMMANDS, loaded

ROOT = Path(__file__).parents[2]
HEAVY = ("polars", "structlog", "rich", "psutil", "prefect")


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_told_of_a_command_is_what_it_says_itself(name: str) -> None:
    command = loaded(name)
    assert (command.name, " ".join(command.help.split("\n\n")[0].split())) == (name, COMMANDS[name].what)


@pytest.mark.parametrize("name", COMMANDS)
def test_completion_is_the_whole_command_lines(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0
    assert "completion" not in shown.output
    assert shown.output.startswith(f"Usage: headwater {name} ")


def test_the_help_lists_them_and_a_misspelt_one_is_told_the_nearest() -> None:
    listed = CliRunner().invoke(app, ["--help"])
    assert listed.exit_code == 0
    assert all(f"  {name} " in listed.output for name in COMMANDS)
    misspelt = CliRunner().invoke(app, ["stauts"])
    assert misspelt.exit_code == 2
    assert "Did you mean 'status'?" in misspelt.output


@pytest.mark.parametrize("arguments", [["--help"], ["audit"], ["recall", "--help"], ["graph", "--help"]])
def test_a_command_loads_nothing_that_it_does_not_need(arguments: list[str]) -> None:
    """Each of these takes as long to load as all that a short command does."""
    script = (
        "import sys\n"
        "from console.cli.app import main\n"
        "try:\n    main()\nfinally:\n    print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not set(HEAVY) & set(done.stderr.split())
