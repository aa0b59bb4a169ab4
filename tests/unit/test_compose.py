"""The compose file cannot be run by the tests; what can be checked without Docker is."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.catalog import SHIPPED

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "infra" / "compose" / "compose.yaml"
FILE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
PASSWORD = re.compile(r"PASSWORD|NEO4J_AUTH|DSN|CONNECTION_URL|MQTT_URL|AUTH_STRING")


def test_every_part_of_the_house_is_there() -> None:
    assert set(SERVICES) == {
        *("postgres", "neo4j", "mosquitto", "prefect", "prometheus", "grafana"),
        *("listen", "relay", "serve"),
    }


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert str(port).startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", SERVICES)
def test_passwords_come_from_the_environment(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if PASSWORD.search(variable):
            assert re.search(r"\$\{HEADWATER_[A-Z]+_PASSWORD:\?", value), variable


def test_every_variable_is_in_the_example() -> None:
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", COMPOSE.read_text(encoding="utf-8")))
    example = (COMPOSE.parent / ".env.example").read_text(encoding="utf-8")
    assert asked == set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    assert not re.search(r"PASSWORD=.+", example)


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_in_the_repository(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            path = COMPOSE.parent / source
            assert path.is_file() or any(path.glob("**/*.y*ml")), source
        else:
            assert source in FILE["volumes"], source


@pytest.mark.parametrize("name", ["listen", "relay", "serve"])
@pytest.mark.parametrize("variable", ["HEADWATER_ANCHOR_FILE", "HEADWATER_KEY_FILE"])
def test_anchors_and_keys_outlive_the_container_and_are_one_file_for_all(name: str, variable: str) -> None:
    folder = Path(SERVICES[name]["environment"][variable]).parent
    assert f"anchors:{folder}" in SERVICES[name]["volumes"]
    image = (COMPOSE.parent / "Dockerfile").read_text(encoding="utf-8")
    assert f"headwater .headwater {folder.name}" in image


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_depends_on_is_there_and_tells_its_health(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[needed]


def test_the_image_is_built_from_files_that_are_there() -> None:
    build = SERVICES["listen"]["build"]
    context = (COMPOSE.parent / build["context"]).resolve()
    assert context == REPOSITORY
    text = (context / build["dockerfile"]).read_text(encoding="utf-8")
    ignored = (context / f"{build['dockerfile']}.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()]
    assert set(copied) >= {
        "console",
        "flows",
        "tasks",
        "infra",
        "lineage",
        SHIPPED.name,
    }
    for name in copied:
        assert (context / name).exists(), name
        assert f"!{name}" in ignored, name


def test_the_broker_is_configured_like_the_local_one() -> None:
    local = (REPOSITORY / "infra" / "local" / "mosquitto.py").read_text(encoding="utf-8")
    assert "MAX_IN_FLIGHT = 60_000" in local
    lines = (COMPOSE.parent / "mosquitto.conf").read_text(encoding="utf-8").splitlines()
    assert {"max_inflight_messages 60000", "max_queued_messages 0", "autosave_interval 1000"} <= set(lines)


def test_prefects_server_asks_for_what_our_processes_have() -> None:
    asked = SERVICES["prefect"]["environment"]
    for name in ("listen", "relay", "serve"):
        told = SERVICES[name]["environment"]["PREFECT_API_AUTH_STRING"]
        assert told == asked["PREFECT_SERVER_API_AUTH_STRING"]
    assert asked["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
