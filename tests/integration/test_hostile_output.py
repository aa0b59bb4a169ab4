"""Whatever is stored, no command lets it do anything to a terminal or forge a line; on a real Postgres."""

import ast
import asyncio
import json
import unicodedata
from pathlib import Path

import pytest

from tests.fixtures.aggregates import at, reading
from tests.fixtures.commit import message
from tests.fixtures.headwater import Command
from tests.fixtures.headwater import command as _command
from tests.fixtures.recall import a_house

command = _command  # a fixture
CONSOLE = Path(__file__).parents[2] / "console" / "cli"
UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}
EVIL = "\x1b[2J\x07\r\nFORGED\x9b31m\u202e\u200bevil\u2028\ufeff\U000e0041|`[x](y)<b>"
WALKED = [
    ("rejected", "ls"),
    ("rejected", "ls", "--format", "csv"),
    ("rejected", "ls", "--format", "json"),
    ("rejected", "show", "IDENTITY"),
    ("rejected", "drop"),
    ("rejected", "replay", "--dry-run"),
    ("trace", "sensor_readings", "KEY"),
    ("trace", "sensor_readings", "KEY", "--json"),
    ("trace", "sensor_readings", "device_id=" + EVIL + ",timestamp=2026-11-20T09:00:00Z"),
    ("recall", "--device", EVIL),
    ("recall", "--device", EVIL, "--json"),
    ("erase", "BATCH", "0"),
    ("devices", "ls"),
    ("devices", "ls", "--json"),
    ("status",),
    ("status", "--json"),
]


@pytest.mark.timeout(1800)  # a process for each command
async def test_no_command_prints_what_cannot_be_seen(
    command: Command, postgres_dsn: str, tmp_path: Path
) -> None:
    register = tmp_path / "devices.jsonl"
    register.write_text(json.dumps({"device_id": EVIL, "name": EVIL, "model": EVIL, "site": EVIL}) + "\n")
    async with a_house(postgres_dsn) as house:
        good = reading(EVIL, at(1))
        receipt = await house.take(good, (f"sensors/{EVIL}/readings", b"\x1b]0;evil\x07"), message(EVIL, 1))
        identity = (await house.value("SELECT identity FROM rejected LIMIT 1")).hex()
        key = json.dumps({"device_id": EVIL, "timestamp": at(1).isoformat()})
        known = {"IDENTITY": identity, "KEY": key, "BATCH": str(receipt.batch)}
        loaded = await asyncio.to_thread(command, "devices", "load", str(register))
        assert loaded.returncode == 0, loaded.stderr
        for words in WALKED:
            done = await asyncio.to_thread(command, *(known.get(word, word) for word in words))
            told = done.stdout.decode() + done.stderr.decode()
            unseen = {c for c in told if unicodedata.category(c) in UNSEEN} - {"\n"}
            assert not unseen, (words, unseen)
            assert not [line for line in told.splitlines() if line.startswith("FORGED")], words
            assert "Traceback" not in told, (words, told)
            if words[-1] == "--json":
                json.loads(done.stdout)
        shown = command("trace", "sensor_readings", key).stdout.decode()
        assert "device_id=\\x1b[2J\\x07\\r\\nFORGED\\x9b31m\\u202e\\u200bevil" in shown


@pytest.mark.parametrize("path", sorted(CONSOLE.glob("*.py")), ids=lambda path: path.stem)
def test_the_console_prints_by_one_door(path: Path) -> None:
    """`console/cli/table.py`, which makes it safe; but for bytes that were asked for as they are."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    doors = [ast.unparse(call) for call in calls]
    allowed = {"table.py": 99, "rejected.py": 1}
    assert sum(door in {"typer.echo", "print", "sys.stdout.write"} for door in doors) <= allowed.get(
        path.name, 0
    )
