"""`headwater serve` and a trigger of one's own, as docs/triggers.md shows it, killed in the middle."""

import asyncio
import os
import re
import shlex
import subprocess
from pathlib import Path
from uuid import uuid4

from infra.local.addresses import Address
from infra.mqtt.client import publish_many
from infra.postgres import Connection
from tests.fixtures import catalogs
from tests.fixtures.headwater import COMMAND, Headwater
from tests.fixtures.prefect import a_client, variables
from tests.fixtures.triggers import Server, read_trigger
from tests.fixtures.waiting import until, until_stored
from tests.fixtures.wire import ErrorProxy

DOC = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text(encoding="utf-8")
BATCH = b'{"batch": {"id": "b-7"}}'


def block(kind: str) -> str:
    (first, *_) = re.findall(rf"^```{kind}\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
    return str(first)


def said_by(line: str, place: Path, environment: dict[str, str]) -> str:
    """What a line of the document prints."""
    command = [COMMAND, *shlex.split(line)[1:]]
    said = os.environ | environment
    return subprocess.run(command, cwd=place, env=said, capture_output=True, text=True, check=True).stdout


async def test_an_event_is_started_once_though_prefect_is_away_and_serve_is_killed(
    headwater: Headwater,
    connection: Connection,
    postgres_dsn: str,
    mqtt_address: Address,
    prefect_server: Address,
    error_proxy: ErrorProxy,
    tmp_path: Path,
) -> None:
    said = block("yaml").replace("totals/prod", f"totals-{uuid4().hex[:8]}/prod")
    catalogs.written(tmp_path / "lab" / "ready" / "trigger.yaml", said)
    catalogs.written(tmp_path / "lab" / "broken" / "trigger.yaml", said.replace("owner", "ownr"))
    trigger = read_trigger(tmp_path / "lab", "ready")
    there = f"http://127.0.0.1:{error_proxy.port}/api"
    settings = {
        "HEADWATER_POSTGRES_DSN": postgres_dsn,
        "HEADWATER_MQTT_URL": mqtt_address.url_with_password,
        **variables(prefect_server),
        "HEADWATER_PREFECT_API_URL": there,
        "PREFECT_API_URL": there,
        "HEADWATER_PIPELINES": str(tmp_path / "lab"),
    }
    async with a_client(prefect_server) as client:
        server = Server(client)
        await server.deploy(trigger)
        first = headwater("serve", **settings)
        await asyncio.to_thread(first.wait_until, "serving", 300.0)
        await until(lambda: "listening" in first.health().get("trigger ready", ""))
        assert "did you mean owner?" in first.health()["left out: broken"]
        error_proxy.refused = b"POST /api/deployments/"  # what makes a flow run
        await publish_many(mqtt_address.url_with_password, [("lab/rack-1/ready", BATCH)])
        await until_stored(connection, "SELECT count(*) FROM trigger_events", 1)
        await until(lambda: "1 event waits: Prefect is unavailable" in first.health()["trigger ready"])
        first.kill()
        error_proxy.refused = None
        await publish_many(
            mqtt_address.url_with_password, [("lab/rack-2/ready", BATCH), ("lab/x/ready", b"")]
        )
        second = headwater("serve", **settings)
        await until_stored(connection, "SELECT count(flow_run) FROM trigger_events", 2)
        await until_stored(connection, "SELECT count(*) FROM rejected", 1)
        runs = await server.runs(trigger)
    assert sorted(run.parameters["rack"] for run in runs) == ["rack-1", "rack-2"]
    here = settings | {"HEADWATER_HOME": str(tmp_path / "home")}
    lines = block("sh").splitlines()
    shown = [await asyncio.to_thread(said_by, line, tmp_path, here) for line in lines]
    assert re.search(r"ready +2 events, 2 started\n", shown[0])
    assert "payload.json" in shown[1]
    await asyncio.to_thread(second.wait_until, "serving", 300.0)
    assert await asyncio.to_thread(second.stop) == 0
