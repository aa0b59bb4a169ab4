"""`headwater simulate` on a real Mosquitto: what a subscriber gets, and what the command says.

The subscriber is away while the command runs: a broker keeps only what was published at QoS 1 for it.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from infra.mqtt.address import SYSTEM, Tls
from infra.mqtt.client import Publisher, Subscriber
from tasks.extract.robot_notices import NOTICE_TOPICS, runs_to_fetch
from tests.fixtures.headwater import COMMAND, Headwater
from tests.fixtures.mosquitto import Broker, MakeBroker
from tests.fixtures.waiting import until

Messages = list[tuple[str, bytes]]
LAST = "last"


def simulate(
    url: str, directory: Path, arguments: Sequence[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    own = {"HEADWATER_MQTT_URL": url, "HEADWATER_HOME": str(directory / "home")}
    return subprocess.run(
        [COMMAND, "simulate", *arguments],
        cwd=directory,
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def taken(url: str, client_id: str, topics: Sequence[str], tls: Tls = SYSTEM) -> Messages:
    """What the broker has for this client, up to a last message that is published now.

    The last one of an earlier call comes again where its acknowledgement was lost with the connection.
    """
    messages, last = [], (LAST, uuid4().bytes)
    async with Subscriber(url, client_id, [*topics, LAST], tls=tls) as notices:
        await asyncio.sleep(0.2)  # what is retained, or kept, comes before
        async with Publisher(url, tls=tls) as publisher:
            await publisher.publish(*last)
        async with asyncio.timeout(20):
            async for message in notices:
                if message == last:
                    return messages
                if message[0] != LAST:
                    messages.append(message)
    raise AssertionError("the last message did not come")


async def test_devices_publish_what_the_command_says(mosquitto: Broker, tmp_path: Path) -> None:
    topic = "sensors/+/readings"
    assert await taken(mosquitto.url, "away", [topic]) == []
    options = {"devices": 7, "count": 400, "rate": 2000, "bad": 0.2, "hours": 3}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    done = await asyncio.to_thread(simulate, mosquitto.url, tmp_path, ["devices", *arguments, "--json"])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    messages = await taken(mosquitto.url, "away", [topic])
    assert len(messages) == told["published"] == 400
    assert {topic for topic, _ in messages} == {f"sensors/sensor-{at:03d}/readings" for at in range(1, 8)}
    assert told["kinds"]["not JSON"] == sum(not payload.endswith(b"}") for _, payload in messages)
    repeated = sum(count - 1 for count in Counter(messages).values())
    assert told["kinds"]["duplicate"] == repeated > 0
    assert await taken(mosquitto.url, "later", [topic]) == []  # nothing is retained


async def test_a_robot_sends_the_documented_topics(mosquitto: Broker, tmp_path: Path) -> None:
    assert await taken(mosquitto.url, "away", NOTICE_TOPICS) == []
    options = ["--play", "3", "--seconds-per-command", "0", "--exit", "--json"]
    done = await asyncio.to_thread(simulate, mosquitto.url, tmp_path, ["robot", *options])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [run["status"] for run in told["runs"]] == ["succeeded", "failed", "failed"]
    assert told["url"] in done.stderr
    messages = await taken(mosquitto.url, "away", NOTICE_TOPICS)
    ids = [run["run_id"] for run in told["runs"]]
    for run_id in ids:
        assert (f"robot-server/runs/{run_id}", b'{"refetch": true}') in messages
        assert (f"robot-server/runs/pre_serialized_commands/{run_id}", b'{"refetch": true}') in messages
    assert ("robot-server/runs", b'{"refetch": true}') in messages
    assert ("robot-server/runs/commands_links", b'{"refetch": true}') in messages
    named = {str(what) for topic, payload in messages if (what := runs_to_fetch(topic, payload)) is not None}
    assert named - {"all"} == set(ids)
    assert messages[-1][0] == f"robot-server/runs/pre_serialized_commands/{ids[-1]}"
    assert await taken(mosquitto.url, "later", NOTICE_TOPICS) == []  # nothing is retained


async def test_the_settings_tls_is_used_and_the_summary_comes_last(
    make_mosquitto: MakeBroker, certificate: Path, tmp_path: Path
) -> None:
    key = certificate.with_suffix(".key")
    broker = make_mosquitto(listener=[f"certfile {certificate}", f"keyfile {key}"])
    url, ca = broker.url.replace("mqtt://", "mqtts://"), {"HEADWATER_MQTT_CA": str(certificate)}
    robot = ["robot", "--play", "1", "--seconds-per-command", "0", "--exit"]
    done = await asyncio.to_thread(simulate, url, tmp_path, robot, **ca)
    address, played, summary = done.stdout.splitlines()
    assert address.startswith("http://127.0.0.1:"), done.stderr
    assert re.fullmatch(r"[0-9a-f-]{36} succeeded  Serial dilution", played)
    assert summary == "1 played: 1 succeeded"
    devices = ["devices", "--count", "40", "--rate", "1000", "--bad", "0"]
    done = await asyncio.to_thread(simulate, url, tmp_path, devices, **ca)
    assert done.stdout.splitlines()[-1] == "40 published: 40 good", done.stderr
    assert "publishing" in done.stderr
    refused = await asyncio.to_thread(simulate, url, tmp_path, robot)
    assert refused.returncode != 0
    assert "certificate" in refused.stderr


async def test_a_robot_that_serves_on_says_how_to_fetch_from_it(
    mosquitto: Broker, headwater: Headwater
) -> None:
    robot = headwater("simulate", "robot", "--play", "0", HEADWATER_MQTT_URL=mosquitto.url)
    await until(lambda: robot.log.read_text().count("\n") == 2)
    address, hint = sorted(robot.log.read_text().splitlines(), reverse=True)
    assert hint == f'Fetch from it: HEADWATER_ROBOTS="ot2={address}" headwater up'


async def test_a_port_that_is_taken_is_one_sentence(mosquitto: Broker, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = await asyncio.to_thread(simulate, mosquitto.url, tmp_path, ["robot", "--port", port])
    assert done.returncode == 2
    assert done.stderr.startswith(f"the robot cannot serve on port {port}: Address already in use;")


async def test_no_broker_is_one_sentence(tmp_path: Path) -> None:
    done = await asyncio.to_thread(simulate, "mqtt://127.0.0.1:9", tmp_path, ["robot", "--exit"])
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
