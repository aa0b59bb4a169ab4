"""`headwater demo`: everything once, on simulated devices and a robot; then it is proven and stops.

    20 devices ─MQTT─▶ headwater listen ─┐                      ┌▶ what was stored, and rejected and why
    a robot ─notices, HTTP─▶ headwater serve ─▶ Postgres ─relay─▶ graph ─▶ one value traced back, the proof

It has a directory of its own below the home, made anew every time, and only simulated input.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from console.cli.exits import DIFFERENCES
from console.cli.start import run, start, start_prefect
from console.cli.starting import TITLES, GraphEngine, engine_named, start_apps, start_services
from console.cli.table import say
from infra.local.services import apps, stop_all
from infra.settings import Robot as RobotSetting
from infra.settings import Settings, load
from lineage.errors import UnavailableError

DEVICES, READINGS, BAD, SEED = 20, 4_000, 0.03, 7
SPAN = timedelta(hours=3)
EVERY = timedelta(seconds=5)
"""How often the scheduled flows run here, instead of every hour."""
PATIENCE = 300.0  # seconds for what was sent to have arrived everywhere

Graph = Annotated[
    GraphEngine,
    typer.Option(parser=engine_named, metavar="|".join(GraphEngine), help="Which local graph."),
]


def demo(graph: Graph = GraphEngine.EMBEDDED) -> None:
    """Simulate devices and a robot, ingest them, trace a value back, prove everything; then stop."""
    began, outer = perf_counter(), load().home
    home = outer / "demo"
    with _fresh(home):
        local = {"postgres_dsn": None, "graph_uri": None, "mqtt_url": None, "prefect_api_url": None}
        given = {**local, "home": home, "log_level": "WARNING", "schedule_every": EVERY}
        say("Starting the local services …", err=True)
        start_services(start(**given), graph, outer / "downloads")
        ok = run(_demo(start_prefect(**given)))
    say(f"Done in {perf_counter() - began:.0f} s; everything is stopped again.")
    if not ok:
        raise typer.Exit(DIFFERENCES)


@contextmanager
def _fresh(home: Path) -> Iterator[None]:
    """A new directory; whatever was left of an earlier demo is ended, and so is what we start."""
    stop_all(home)
    shutil.rmtree(home, ignore_errors=True)
    try:
        yield
    finally:
        stop_all(home)


async def _demo(settings: Settings) -> bool:
    from console.cli import demo_report as report
    from console.cli.simulate import publish_at
    from console.cli.up import prepare
    from flows import catalog
    from flows.acts.proof import prove
    from flows.process import stores
    from infra.mqtt.client import Publisher
    from infra.simulators.devices import Simulation, register
    from infra.simulators.robot import Robot, protocols_of, serve_robot
    from tasks.look.device_register import load_devices

    known = catalog.read(settings)
    await prepare(settings)
    now = datetime.now(UTC)
    devices = Simulation(seed=SEED, devices=DEVICES, count=READINGS, start=now - SPAN, span=SPAN, bad=BAD)
    async with (
        Publisher(stores.mqtt(settings).url.get_secret_value()) as publisher,
        stores.open_store(settings, "demo") as store,
    ):
        await load_devices(store.pool, register(DEVICES))
        robot = Robot(protocols=protocols_of(SEED), publish=publisher.publish, seconds=0.05)
        async with serve_robot(robot) as url:
            await robot.up()
            with_robot = settings.model_copy(update={"robots": (RobotSetting(name="ot2", url=url),)})
            await asyncio.to_thread(start_apps, with_robot)
            say(f"Simulating {DEVICES} devices and a robot …", err=True)
            publishing = asyncio.create_task(publish_at(publisher, devices.published(), rate=500))
            for protocol in protocols_of(SEED):
                await robot.play(protocol)
            kinds: Counter[str] = await publishing
            say("Waiting until all of it is stored, summed up and in the graph …", err=True)
            await _until(with_robot, lambda: report.missing(store.pool, known, kinds.total(), runs=3))
        await report.show(settings, known, store.pool, kinds)
    proof = await prove(settings, known, full=True)
    report.show_proof(proof)
    return proof.ok


async def _until(settings: Settings, missing: Callable[[], Awaitable[str]]) -> None:
    """Wait until nothing is missing; raises UnavailableError with what is, or which process has ended."""
    deadline = perf_counter() + PATIENCE
    while left := await missing():
        ended = [app for app in apps(settings.home, {}) if app.address() is None]
        if ended:
            reason = f"it ended by itself, its log ends: {ended[0].log_tail(3)}"
            raise UnavailableError(TITLES[ended[0].name], reason, f"See {ended[0].log}.")
        if perf_counter() > deadline:
            hint = f"Look at the logs in {settings.home / 'log'}."
            raise UnavailableError("The demo", f"after {PATIENCE:.0f} s {left}", hint)
        await asyncio.sleep(0.5)
