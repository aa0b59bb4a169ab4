"""The documents say what is so."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from console.cli import commands

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
ROOMS = "console|flows|tasks|infra|lineage|tests|docs"
COMMANDS = SimpleNamespace(commands={name: commands.loaded(name) for name in commands.COMMANDS})
PLACEHOLDER = re.compile(r"[A-Z]{3,}")  # tasks/contracts/TABLE.yaml


def test_the_architecture_shows_every_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("| contract | why |")[1].split("\n\n")[0]
    assert re.findall(r"^\| ([^-|][^|]*) \|", table, re.MULTILINE) == names


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_file_that_is_named_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{ROOMS})/[\w./-]*)`", text))
    links = set(re.findall(r"\]\((?!https?://|#)([^)#]+)", text))
    missing = {name for name in named if not PLACEHOLDER.search(name) and not (ROOT / name).exists()}
    assert missing | {link for link in links if not (path.parent / link).exists()} == set()


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_has_its_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    number = int(path.name[:4])
    assert text.startswith(f"# {number}. ")
    assert re.search(r"^Status: (proposed|accepted|superseded by \d+)$", text, re.MULTILINE)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_the_hooks_run_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    check = makefile.split("\ncheck:")[1].split("\n\n")[0]
    lines = re.findall(r"^\t(\.venv/bin/.+)$", check, re.MULTILINE)
    assert [hook["entry"] for hook in hooks[0]["hooks"]] == [line.removesuffix(" .") for line in lines]


def make(*arguments: str, place: Path = ROOT) -> str:
    command = ["make", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("ways", "services"),
    [("", "mosquitto kafka"), ("WAYS=mqtt", "mosquitto"), ("WAYS=mqtt kafka", "mosquitto kafka")],
)
def test_chaos_provisions_what_its_ways_need(ways: str, services: str) -> None:
    said = make("-n", "-o", ".venv/installed", "chaos", *filter(None, [ways]))
    assert f"infra.local.provision {services}" in [" ".join(line.split()[2:]) for line in said.splitlines()]


def test_clean_keeps_downloads_and_the_files_of_who_uses_it(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("downloads/kafka", "files/sensors", "postgres/data", "log"):
        (tmp_path / ".headwater" / name).mkdir(parents=True)
    (tmp_path / ".headwater" / "files" / "sensors" / "unread.csv").touch()
    make("clean", place=tmp_path)
    assert {path.name for path in (tmp_path / ".headwater").iterdir()} == {"downloads", "files"}
    assert (tmp_path / ".headwater" / "files" / "sensors" / "unread.csv").exists()


def test_the_ways_of_chaos_are_listed() -> None:
    assert "WAYS=" in make("help")


def test_the_commands_name_every_flow_that_can_be_run() -> None:
    (line,) = re.findall(r"^\| `headwater run .*$", (ROOT / "docs" / "commands.md").read_text("utf-8"), re.M)
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert set(re.findall(r"`([\w-]+)`", line.split("lists them: ")[1])) == {
        each["name"] for each in declared
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_whoever_shows_commands_has_a_test_that_runs_them(path: Path) -> None:
    """A block marked `sh` is for typing: a test reads it and runs what stands there, but for make."""
    blocks = re.findall(r"^```sh\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if any(not line.startswith("make ") for block in blocks for line in block.splitlines()):
        tests = [file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "acceptance").glob("*.py")]
        assert any(f'"{path.name}"' in text and "sh" in text for text in tests)


def commands_in(text: str) -> list[str]:
    """Every command of ours in a document: the lines of its blocks, and what stands between backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0] for block in blocks for line in block.splitlines()]
    spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    written = [" ".join(each.split()).replace("\\|", "|") for each in (*lines, *spans)]
    return [
        each.removeprefix(".venv/bin/") for each in written if re.match(r"(\.venv/bin/)?headwater ", each)
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_command_and_its_options_are_there(path: Path) -> None:
    for command in commands_in(path.read_text(encoding="utf-8")):
        words = shlex.split(command, posix=False)[1:]
        found: Any = COMMANDS
        while words and (group := getattr(found, "commands", None)):
            names, words = words[0].split("|"), words[1:]
            assert PLACEHOLDER.fullmatch(names[0]) or set(names) <= group.keys(), command
            found = group.get(names[0])
        if found is None:  # `headwater COMMAND --help`
            continue
        given = {name for word in words for name in re.findall(r"(?<![\w-])--[a-z-]+", word)}
        known = {name for option in found.params for name in (*option.opts, *option.secondary_opts)}
        assert given <= {*known, "--help"}, command
