"""`headwater up` on what runs already: its own processes with other settings, another graph."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from console.cli.starting import GraphEngine, graph_engine, start_apps
from infra.local import app, process
from infra.local.addresses import Address
from infra.local.app import Relay
from infra.local.services import service, stop_all
from infra.settings import load
from lineage.errors import SettingsError
from tests.fixtures.headwater import COMMAND


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    stop_all(tmp_path / "home")


def relay(home: Path, **settings: str) -> Address:
    environment = load(home=home, **settings).environment()
    return Relay(home, environment=environment).start()


def test_a_process_is_started_anew_when_its_settings_changed(home: Path, postgres_dsn: str) -> None:
    settings = {"postgres_dsn": postgres_dsn, "graph_uri": "bolt://127.0.0.1:9"}
    first = relay(home, **settings, robots="ot2=http://127.0.0.1:31950")
    assert relay(home, **settings, robots="ot2=http://127.0.0.1:31950") == first
    second = relay(home, **settings, robots="ot2=http://127.0.0.1:31951")
    assert second.pid != first.pid
    assert not process.is_alive(first.pid, first.created)
    there = process.environment(second.pid)
    assert there["HEADWATER_ROBOTS"] == "ot2=http://127.0.0.1:31951"
    assert there["PYTHONPATH"] == str(app.CODE)
    assert (app.CODE / "console" / "cli" / "app.py").exists()


def test_up_says_which_settings_of_a_process_changed_and_no_value(
    home: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def only_relay(root: Path, environment: Mapping[str, str]) -> tuple[Relay, ...]:
        return (Relay(root, environment=environment),)

    monkeypatch.setattr("console.cli.starting.apps", only_relay)
    settings = {"postgres_dsn": postgres_dsn, "graph_uri": "bolt://127.0.0.1:9"}
    start_apps(load(home=home, **settings, robots="ot2=http://127.0.0.1:31950"))
    start_apps(load(home=home, **settings, robots="ot2=http://127.0.0.1:31950"))
    assert "anew" not in capsys.readouterr().err
    start_apps(load(home=home, **settings, mqtt_url="mqtt://127.0.0.1:9"))
    captured = capsys.readouterr()
    told = "headwater relay    started anew, its settings changed: HEADWATER_MQTT_URL, HEADWATER_ROBOTS\n"
    assert told in captured.err
    assert captured.out == ""


def test_another_graph_than_the_one_that_runs_is_refused(home: Path) -> None:
    assert graph_engine(home, None) is GraphEngine.EMBEDDED
    assert graph_engine(home, GraphEngine.NEO4J) is GraphEngine.NEO4J
    service("embedded", home).start()
    assert graph_engine(home, None) is GraphEngine.EMBEDDED
    with pytest.raises(SettingsError, match=r"embedded.*is running.*headwater down"):
        graph_engine(home, GraphEngine.NEO4J)


def test_down_says_what_was_stopped_by_the_names_of_up(home: Path) -> None:
    def down() -> str:
        command = [COMMAND, "down"]
        return subprocess.run(
            command,
            env={**os.environ, "HEADWATER_HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert down() == "nothing was running\n"
    service("mosquitto", home, Path(".headwater/downloads")).start()
    assert down() == "stopped MQTT broker\n"
