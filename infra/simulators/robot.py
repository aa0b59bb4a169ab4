"""A small OT-2 for tests and the demo: HTTP with the real paths, MQTT notices on the real topics.

    python -m infra.simulators.robot --port 31950 --mqtt mqtt://127.0.0.1:1883 --seed 7 --play 3

In a process: `Robot(...)` with `serve_robot(robot)`. Its motors are a clock; everything else a client can
see follows the recordings of the real robot-server, which the tests hold it to.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Any

from infra.mqtt.address import SYSTEM, Tls
from infra.mqtt.client import Publisher
from infra.simulators.robot_http import serve_robot
from infra.simulators.robot_machine import Robot
from infra.simulators.robot_notices import Publish
from infra.simulators.robot_protocols import Protocol, failing, serial_dilution
from infra.simulators.robot_runs import Run

__all__ = [
    "Protocol",
    "Robot",
    "failing",
    "open_robot",
    "plays",
    "protocols_of",
    "serial_dilution",
    "serve_robot",
]


def protocols_of(seed: int) -> list[Protocol]:
    """What the robot has on it: one that works, one that fails in a command, one that fails in its Python."""
    return [serial_dilution(seed), failing(seed), failing(seed, "python")]


@asynccontextmanager
async def open_robot(
    mqtt: str | None,
    *,
    tls: Tls = SYSTEM,
    port: int = 0,
    seed: int = 1,
    seconds: float = 0.01,
    start_seconds: float = 0.0,
) -> AsyncIterator[tuple[Robot, str]]:
    """A robot that answers, and its URL; its notices go to the broker at `mqtt`, or nowhere.

    Raises UnavailableError (the broker), RejectedError (the broker's refusal, or a port that is taken).
    """
    async with mqtt_publisher(mqtt, tls) as publish:
        robot = Robot(
            protocols=protocols_of(seed), publish=publish, seconds=seconds, start_seconds=start_seconds
        )
        async with serve_robot(robot, port) as url:
            await robot.up()
            yield robot, url


async def plays(robot: Robot, count: int) -> AsyncIterator[Run]:
    """Play `count` runs, in turn of the robot's protocols; each comes when it and its notices are out."""
    for protocol in islice(cycle(list(robot.protocols.values())), count):
        run = await robot.play(protocol)
        await robot.notices.flushed()
        yield run


@asynccontextmanager
async def mqtt_publisher(url: str | None, tls: Tls = SYSTEM) -> AsyncIterator[Publish | None]:
    """Publishes notices at QoS 1, never retained; None: a robot without a broker."""
    if url is None:
        yield None
        return
    async with Publisher(url, tls=tls) as publisher:
        yield publisher.publish


async def _run(mqtt: str | None, play: int, **options: Any) -> None:
    async with open_robot(mqtt, **options) as (robot, url):
        print(url, flush=True)
        async for _ in plays(robot, play):
            pass
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A small OT-2, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints the address")
    parser.add_argument("--mqtt", help="the broker's URL, e.g. mqtt://127.0.0.1:1883")
    parser.add_argument("--seed", type=int, default=1, help="of its protocols")
    parser.add_argument("--seconds", type=float, default=0.01, help="per command")
    parser.add_argument("--start-seconds", type=float, default=0.0, help="of 503 after its start")
    parser.add_argument("--play", type=int, default=0, help="runs to play on its own")
    try:
        asyncio.run(_run(**vars(parser.parse_args())))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
