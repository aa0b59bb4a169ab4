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

from infra.mqtt.client import Publisher
from infra.simulators.robot_http import serve_robot
from infra.simulators.robot_machine import Robot
from infra.simulators.robot_notices import Publish
from infra.simulators.robot_protocols import Protocol, failing, serial_dilution

__all__ = ["Protocol", "Robot", "failing", "protocols_of", "serial_dilution", "serve_robot"]


def protocols_of(seed: int) -> list[Protocol]:
    """What the robot has on it: one that works, one that fails in a command, one that fails in its Python."""
    return [serial_dilution(seed), failing(seed), failing(seed, "python")]


async def run_robot(
    *,
    port: int,
    mqtt: str | None,
    seed: int,
    seconds: float,
    start_seconds: float,
    play: int,
    leave: bool = False,
) -> None:
    """Play `play` runs in turn of its protocols; then `leave`, or serve until cancelled."""
    async with mqtt_publisher(mqtt) as publish:
        protocols = protocols_of(seed)
        robot = Robot(protocols=protocols, publish=publish, seconds=seconds, start_seconds=start_seconds)
        async with serve_robot(robot, port) as url:
            print(url, flush=True)
            await robot.up()
            for protocol in islice(cycle(protocols), play):
                await robot.play(protocol)
            await robot.notices.flushed()
            if not leave:
                await asyncio.Event().wait()


@asynccontextmanager
async def mqtt_publisher(url: str | None) -> AsyncIterator[Publish | None]:
    """Publishes notices at QoS 1, never retained; None: a robot without a broker."""
    if url is None:
        yield None
        return
    async with Publisher(url) as publisher:
        yield publisher.publish


def main() -> None:
    parser = argparse.ArgumentParser(description="A small OT-2, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints the address")
    parser.add_argument("--mqtt", help="the broker's URL, e.g. mqtt://127.0.0.1:1883")
    parser.add_argument("--seed", type=int, default=1, help="of its protocols")
    parser.add_argument("--seconds", type=float, default=0.01, help="per command")
    parser.add_argument("--start-seconds", type=float, default=0.0, help="of 503 after its start")
    parser.add_argument("--play", type=int, default=0, help="runs to play on its own")
    try:
        asyncio.run(run_robot(**vars(parser.parse_args())))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
