"""`headwater doctor` on services that are well, that lack something, and that are away."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from console.asked.doctor import examine
from console.cli.up import show
from flows.acts.partitions import extend
from flows.process.ours import Installation
from flows.worker.flow_runs import flow_runs
from flows.worker.runnable import descriptions
from infra.doctor import graph as graph_doctor
from infra.doctor import machine
from infra.doctor import mqtt as mqtt_doctor
from infra.doctor import postgres as postgres_doctor
from infra.doctor.finding import Finding, Level, readable
from infra.graph import open_graph
from infra.local.addresses import Address
from infra.local.services import service
from infra.mqtt.address import SYSTEM, MqttEndpoint
from infra.postgres import open_pool
from infra.settings import load
from lineage import graph as graphs
from lineage.errors import RejectedError
from tasks.look import sessions
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.graph import endpoint_of
from tests.fixtures.headwater import COMMAND
from tests.fixtures.prefect import at

SECRET = "hunter2hunter2"
AWAY = {
    "HEADWATER_POSTGRES_DSN": f"postgresql://me:{SECRET}@127.0.0.1:9/x",
    "HEADWATER_GRAPH_URI": "bolt://127.0.0.1:9",
    "HEADWATER_GRAPH_USER": "me",
    "HEADWATER_GRAPH_PASSWORD": SECRET,
    "HEADWATER_MQTT_URL": f"mqtt://me:{SECRET}@127.0.0.1:9",
    "HEADWATER_PREFECT_API_URL": "http://127.0.0.1:9/api",
}


def by_level(findings: tuple[Finding, ...] | list[Finding], level: Level) -> list[str]:
    return [finding.sentence for finding in findings if finding.level is level]


def of(part: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.part == part]


async def test_a_database_without_our_tables_is_a_problem(empty_postgres_dsn: str, postgres_dsn: str) -> None:
    (problem,) = by_level(await postgres_doctor.check(empty_postgres_dsn), Level.PROBLEM)
    assert "infra/0001_store.sql" in problem
    assert "lineage/0001_record.sql" in problem
    (well,) = await postgres_doctor.check(postgres_dsn)
    assert well.level is Level.OK
    assert "version 18" in well.sentence


async def test_a_graph_without_constraints_is_a_problem(graph: Address) -> None:
    endpoint = endpoint_of(graph)
    async with open_graph(endpoint) as opened:
        for row in await opened.read("SHOW CONSTRAINTS YIELD name RETURN name", {}):
            await opened.write([(f"DROP CONSTRAINT {row['name']}", {})])
        (problem,) = by_level(await graph_doctor.check(endpoint), Level.PROBLEM)
        assert "batch_key" in problem
        await graphs.migrate(opened)
    assert [finding.level for finding in await graph_doctor.check(endpoint)] == [Level.OK]


async def test_missing_partitions_and_silent_listeners_are_told_with_the_fix(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(home=tmp_path, postgres_dsn=postgres_dsn)
    assert "no partition for tomorrow" in by_level(await examine(settings, SHIPPED), Level.PROBLEM)[0]
    await extend(settings, SHIPPED, datetime.now(UTC))
    async with open_pool(postgres_dsn, application="test") as pool:
        await sessions.enter(pool, "headwater-3", "sensors")
        monkeypatch.setattr("console.asked.doctor.SILENT", timedelta(0))
        (silent,) = of("Listeners", await examine(settings, SHIPPED))
        assert silent.level is Level.WARNING
        assert "`HEADWATER_SLOT=3 headwater listen --pipeline sensors --drain`" in silent.fix
        await sessions.leave(pool, "headwater-3")
    findings = await examine(settings, SHIPPED)
    assert of("Listeners", findings) == []
    assert [finding.level for finding in of("Tables", findings)] == [Level.OK]


def test_services_that_are_away_end_with_3_and_no_secret(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "doctor", "--json"],
        cwd=tmp_path,
        env={**os.environ, **AWAY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    findings = json.loads(done.stdout)
    away = {finding["part"] for finding in findings if finding["level"] == "unreachable"}
    assert away == {"Postgres", "Tables", "Graph", "MQTT broker", "Prefect server"}
    assert all("\n" not in finding["sentence"] for finding in findings)
    assert all(finding["fix"] for finding in findings if finding["part"] == "Graph")
    assert SECRET not in done.stdout + done.stderr
    (tables,) = of("Tables", [Finding(**finding) for finding in findings])
    assert (tables.sentence, tables.fix) == ("not looked at, Postgres is away.", "")


async def test_what_is_neither_set_nor_running_is_told_so(tmp_path: Path) -> None:
    findings = await examine(load(home=tmp_path), SHIPPED)
    (broker,) = of("MQTT broker", findings)
    assert broker.sentence == "it is unavailable: no address is set and no local one is running."
    assert broker.fix == "Run `headwater up`, or set HEADWATER_MQTT_URL."


@contextmanager
def http_server(status: int, body: bytes) -> Iterator[str]:
    """Gives the same answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 -- the name http.server calls

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, b"{}", "answered 401"),
        (404, b"{}", "answered 404"),
        (200, b"<!doctype html>", "is not Prefect's API"),
    ],
)
async def test_a_server_that_refuses_us_or_is_not_prefects_is_told_in_a_sentence(
    status: int, body: bytes, told: str, tmp_path: Path, installation: Installation
) -> None:
    with http_server(status, body) as url, temporary_settings({PREFECT_API_URL: url}):
        (finding,) = of("Prefect server", await examine(load(home=tmp_path, prefect_api_url=url), SHIPPED))
        with pytest.raises(RejectedError, match=told):
            await flow_runs(installation, 5)
    assert finding.level is Level.UNREACHABLE
    assert told in finding.sentence


async def test_a_server_without_our_deployments_is_a_problem(
    prefect_server: Address, postgres_dsn: str, tmp_path: Path
) -> None:
    settings = load(home=tmp_path, postgres_dsn=postgres_dsn, prefect_api_url=prefect_server.url)
    with temporary_settings(at(prefect_server)):
        findings = of("Prefect server", await examine(settings, SHIPPED))
    assert [finding.level for finding in findings[:2]] == [Level.OK, Level.PROBLEM]
    assert findings[1].sentence == f"not deployed: {', '.join(descriptions(SHIPPED))}"


@pytest.mark.parametrize(
    ("host", "tls", "warned"),
    [("db.example.org", False, True), ("db.example.org", True, False), ("127.0.0.1", False, False)],
)
def test_plain_text_over_the_network_is_a_warning(host: str, tls: bool, warned: bool) -> None:
    assert bool(list(readable("Postgres", host, tls, "Use TLS."))) is warned


async def test_a_broker_that_forgets_shared_subscriptions_is_a_warning_for_who_shares(
    mqtt_address: Address,
) -> None:
    endpoint = MqttEndpoint(url=SecretStr(mqtt_address.url), tls=SYSTEM)
    assert not by_level(await mqtt_doctor.check(endpoint), Level.WARNING)
    (warning,) = by_level(await mqtt_doctor.check(endpoint, ["sensors"]), Level.WARNING)
    assert "shared subscriptions" in warning
    assert warning.endswith("of sensors")


def test_what_every_user_of_the_machine_may_write_to_is_told_with_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [finding.level for finding in machine.check(tmp_path)] == [Level.OK]
    broker = service("mosquitto", tmp_path, Path(".headwater/downloads"))
    address = broker.start()
    try:
        (warning,) = by_level(machine.check(tmp_path), Level.WARNING)
        assert address.url in warning
        show([address])
        assert "no password: open to every user of this machine" in capsys.readouterr().out
    finally:
        broker.stop()
    assert not by_level(machine.check(tmp_path), Level.WARNING)
