"""`headwater status` says of every part how it is, also of those that are away or not well."""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.asked.status import status
from console.cli.status import _told, ago
from infra.local.addresses import Address, AddressBook
from infra.settings import load
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import a_batch, a_way, message
from tests.fixtures.headwater import COMMAND, Headwater, Process

SECRET = "hunter2hunter2"
AWAY = f"postgresql://me:{SECRET}@127.0.0.1:9/x"


def ask(place: Path, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, what it says, and all of its output."""
    done = subprocess.run(
        [COMMAND, "status", "--json"],
        cwd=place,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


def test_without_anything_every_part_says_so(tmp_path: Path) -> None:
    code, said, output = ask(tmp_path, HEADWATER_POSTGRES_DSN=AWAY)
    assert code == 3
    assert {part["name"]: part["state"] for part in said["parts"]} == dict.fromkeys(
        ("listen", "relay", "serve"), "not started here"
    )
    assert "Postgres is unavailable" in said["postgres"]
    assert "headwater up" in said["prefect"]
    assert said["addresses"] == {
        "Postgres": "postgresql://me:***@127.0.0.1:9/x",
        **dict.fromkeys(("Graph", "MQTT broker", "Prefect"), "no address is set and no local one is running"),
    }
    assert set(said["settings"]) == {"HEADWATER_POSTGRES_DSN"}
    assert said["settings"]["HEADWATER_POSTGRES_DSN"] == "postgresql://me:***@127.0.0.1:9/x"
    assert SECRET not in output
    shown = subprocess.run(
        [COMMAND, "status"],
        cwd=tmp_path,
        env={**os.environ, "HEADWATER_POSTGRES_DSN": AWAY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "\nSettings of this call (a process has those it was started with)\n" in shown.stdout


async def test_what_is_stored_per_dataset_and_not_in_the_graph_yet(postgres_dsn: str, tmp_path: Path) -> None:
    async with a_way(postgres_dsn) as way:
        await way.take(a_batch(message("a", 1), message("a", 2), ("sensors/a/readings", b"not json")))
        entries = await way.value("SELECT count(*) FROM lineage_log")
    found = await status(load(home=tmp_path, postgres_dsn=postgres_dsn), SHIPPED)
    (dataset,) = found.datasets
    assert (dataset.batches, dataset.read, dataset.rejected) == (1, 3, 1)
    assert datetime.now(UTC) - dataset.last_commit < timedelta(minutes=1)
    assert found.rejected_open == 1
    assert found.relay_lag_entries == entries
    assert found.relay_oldest is not None


def recorded(name: str, process: Process, home: Path) -> None:
    """Note a process in the address book, as its start would."""
    pid = process.process.pid
    address = Address(
        service=name,
        pid=pid,
        created=psutil.Process(pid).create_time(),
        port=process.port,
        url=f"http://127.0.0.1:{process.port}",
        log=process.log,
        http_port=process.port,
    )
    AddressBook(home).put(address)


def test_a_process_that_is_not_well_tells_its_state_and_one_that_answers_nothing_is_away(
    headwater: Headwater, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    listener = headwater(
        "listen",
        "--pipeline",
        "sensors",
        HEADWATER_POSTGRES_DSN=AWAY,
        HEADWATER_MQTT_URL="mqtt://127.0.0.1:9",
    )
    deadline = time.monotonic() + 30
    while "serving /metrics" not in listener.log.read_text():
        assert time.monotonic() < deadline, listener.log.read_text()
        time.sleep(0.05)
    recorded("listen", listener, home)
    relay = headwater("relay", HEADWATER_POSTGRES_DSN=AWAY, HEADWATER_GRAPH_URI="bolt://127.0.0.1:9")
    relay.port = 9  # nothing answers there
    recorded("relay", relay, home)
    code, said, _ = ask(tmp_path, HEADWATER_POSTGRES_DSN=AWAY, HEADWATER_HOME=str(home))
    assert code == 3
    parts = {part["name"]: part for part in said["parts"]}
    assert (parts["listen"]["state"], parts["listen"]["detail"]["ok"]) == ("starting", False)
    assert parts["relay"]["state"] == "away"
    assert "unavailable" in parts["relay"]["detail"]["reason"]
    assert said["addresses"]["headwater listen"] == f"http://127.0.0.1:{listener.port}/metrics"
    assert SECRET not in listener.log.read_text()
    assert listener.stop() == 0


def test_a_process_that_was_killed_is_noticed_and_down_says_so(headwater: Headwater, tmp_path: Path) -> None:
    home = {"HEADWATER_HOME": str(tmp_path / "home")}
    relay = headwater("relay", HEADWATER_POSTGRES_DSN=AWAY, HEADWATER_GRAPH_URI="bolt://127.0.0.1:9")
    recorded("relay", relay, tmp_path / "home")
    relay.process.kill()
    relay.process.wait()
    parts = {part["name"]: part for part in ask(tmp_path, HEADWATER_POSTGRES_DSN=AWAY, **home)[1]["parts"]}
    assert parts["relay"]["state"] == "ended by itself"
    assert parts["relay"]["detail"]["reason"].endswith(relay.log.name)
    (told,) = [each for each in doctor(tmp_path, **home) if each["part"] == "headwater relay"]
    assert (told["level"], told["fix"]) == ("problem", "`headwater up` starts it again.")
    assert told["sentence"].startswith("it ended by itself, see ")
    down = [COMMAND, "down"]
    said = subprocess.run(down, env={**os.environ, **home}, capture_output=True, text=True, check=True).stdout
    assert said.startswith("headwater relay had ended by itself, see ")
    assert said.endswith("nothing was running\n")


def doctor(place: Path, **environment: str) -> list[dict[str, Any]]:
    there = {**os.environ, "HEADWATER_POSTGRES_DSN": AWAY, **environment}
    command = [COMMAND, "doctor", "--json"]
    done = subprocess.run(command, cwd=place, env=there, capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s ago"), (119, "119 s ago"), (725, "12 min ago"), (9_000, "2 h ago"), (400_000, "4 days ago")],
)
def test_how_long_ago_is_said_in_one_way(seconds: int, said: str) -> None:
    assert ago(datetime.now(UTC) - timedelta(seconds=seconds)) == said


def test_a_process_tells_what_it_did_last_and_when() -> None:
    at = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    detail = {"ok": True, "last_operation": "flow run", "last_at": at, "key": "ot2:1", "outcome": "COMPLETED"}
    assert _told(detail) == "last flow run 5 min ago, outcome COMPLETED"
    assert _told({"reason": "listen is unavailable: refused."}) == "listen is unavailable: refused."
