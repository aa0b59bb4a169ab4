"""`headwater simulate`: devices and a robot that publish as real ones do."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, track

from console.cli.start import run, start
from console.cli.table import Json, print_json, say

if TYPE_CHECKING:
    from infra.mqtt.client import Publisher
    from infra.simulators.devices import Published
    from infra.simulators.robot import Robot
    from infra.simulators.robot_runs import Run

commands = typer.Typer(help="Devices and a robot that publish as real ones do.", no_args_is_help=True)

Seed = Annotated[int, typer.Option(help="The same seed gives the same values.")]


@commands.command()
def devices(
    devices: Annotated[int, typer.Option(min=1, help="How many devices.")] = 20,
    count: Annotated[int, typer.Option(min=1, help="Readings in all.")] = 3_000,
    rate: Annotated[float, typer.Option(min=0.1, help="Readings per second.")] = 200.0,
    bad: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share with something wrong.")] = 0.05,
    hours: Annotated[float, typer.Option(min=0.0, help="How far back the first timestamp is.")] = 0.0,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Publish readings of sensors, good and bad, to the broker of the settings."""
    settings = start()
    from flows.process import stores
    from infra.simulators.devices import Simulation

    span = timedelta(hours=hours) if hours else timedelta(seconds=count / rate)
    begin = datetime.now(UTC) - (span if hours else timedelta(0))
    simulation = Simulation(seed=seed, devices=devices, count=count, start=begin, span=span, bad=bad)
    broker = stores.mqtt(settings)

    async def publish() -> Counter[str]:
        from infra.mqtt.client import Publisher

        async with Publisher(broker.url.get_secret_value(), tls=broker.tls) as publisher:
            shown = track(simulation.published(), "publishing", count, console=Console(stderr=True))
            return await publish_at(publisher, shown, rate)

    kinds = run(publish())
    if as_json:
        print_json({"published": kinds.total(), "kinds": kinds})
    else:
        bad_kinds = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common() if kind != "good")
        say(f"{kinds.total():,} published: {kinds['good']:,} good" + (f", {bad_kinds}" * bool(bad_kinds)))


@commands.command()
def robot(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="HTTP port; 0 is any free one.")] = 0,
    play: Annotated[int, typer.Option(min=0, help="Runs to play, of three protocols in turn.")] = 3,
    seconds: Annotated[
        float, typer.Option("--seconds-per-command", min=0.0, help="How long each command takes.")
    ] = 0.05,
    leave: Annotated[bool, typer.Option("--exit", help="End after the runs instead of serving on.")] = False,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Serve a small OT-2 on loopback that plays runs; its notices go to the broker of the settings."""
    settings = start()
    from flows.process import stores
    from infra.simulators.robot import open_robot

    broker = stores.mqtt(settings)

    async def serve() -> None:
        opened = open_robot(
            broker.url.get_secret_value(), tls=broker.tls, port=port, seed=seed, seconds=seconds
        )
        async with opened as (small, url):
            say(url, err=as_json)  # at once: who fetches from it needs it before the runs end
            if not leave:
                say(f'Fetch from it: HEADWATER_ROBOTS="ot2={url}" headwater up', err=True)
            _tell(url, await _played(small, play), as_json)
            if not leave:
                await asyncio.Event().wait()

    run(serve())


async def _played(robot: "Robot", count: int) -> list["Run"]:
    from infra.simulators.robot import plays

    with Progress(console=Console(stderr=True), disable=count == 0) as progress:
        task = progress.add_task("playing", total=count)
        runs = []
        async for played in plays(robot, count):
            runs.append(played)
            progress.advance(task)
    return runs


def _tell(url: str, runs: list["Run"], as_json: bool) -> None:
    if as_json:
        print_json({"url": url, "runs": [{"run_id": each.id, "status": each.status} for each in runs]})
    elif runs:
        for each in runs:
            say(f"{each.id} {each.status:<10} {each.protocol.name if each.protocol else ''}")
        statuses = Counter(each.status for each in runs).most_common()
        say(f"{len(runs)} played: " + ", ".join(f"{number} {status}" for status, number in statuses))


async def publish_at(publisher: "Publisher", messages: Iterable["Published"], rate: float) -> Counter[str]:
    """Publish at so many a second; how many of each kind."""
    kinds: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for chunk in _chunks(iter(messages), max(1, round(rate / 20))):
        await asyncio.sleep(began + kinds.total() / rate - loop.time())
        await publisher.publish_many((each.topic, each.payload) for each in chunk)
        kinds.update(each.kind for each in chunk)
    return kinds


def _chunks(messages: Iterator["Published"], size: int) -> Iterator[list["Published"]]:
    while chunk := list(islice(messages, size)):
        yield chunk
