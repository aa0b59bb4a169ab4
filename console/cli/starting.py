"""Starts local services and our own processes, and shows how far each is; for `up` and for the demo."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from console.cli.table import say
from infra.local.addresses import Address
from infra.local.service import LocalService
from infra.local.services import apps, service
from infra.settings import Settings
from lineage.errors import SettingsError

TITLES = {
    "postgres": "Postgres",
    "embedded": "Graph (embedded)",
    "neo4j": "Graph (Neo4j)",
    "mosquitto": "MQTT broker",
    "kafka": "Kafka",
    "prefect": "Prefect server",
    "listen": "headwater listen",
    "relay": "headwater relay",
    "serve": "headwater serve",
}


class GraphEngine(StrEnum):
    """Which local graph, by its service's name."""

    EMBEDDED = "embedded"
    NEO4J = "neo4j"


def engine_named(text: str) -> GraphEngine:
    """The graph an option names; raises SettingsError."""
    try:
        return GraphEngine(text)
    except ValueError as error:
        raise SettingsError(f"--graph takes {' or '.join(GraphEngine)}, not {text!r}.") from error


def graph_engine(home: Path, asked: GraphEngine | None) -> GraphEngine:
    """The graph that was asked for, else the one that runs, else the embedded one.

    Raises SettingsError when another one runs: what our processes write to would not be what is asked.
    """
    running = [engine for engine in GraphEngine if service(engine, home).address() is not None]
    wanted = asked or next(iter(running), GraphEngine.EMBEDDED)
    for other in running:
        if other is not wanted:
            raise SettingsError(
                f"{TITLES[other]} is running and {TITLES[wanted]} was asked for: `headwater down` first."
            )
    return wanted


def start_services(
    settings: Settings, graph: GraphEngine, downloads: Path | None = None, *, kafka: bool = False
) -> list[Address]:
    """Start what no setting replaces, all at the same time; each once, whoever else starts it too.

    `kafka`: it is asked for; nothing else needs it.
    """
    wanted = {
        "postgres": settings.postgres_dsn,
        graph.value: settings.graph_uri,
        "mosquitto": settings.mqtt_url,
        "prefect": settings.prefect_api_url,
        **({"kafka": settings.kafka_url} if kafka else {}),
    }
    local = [name for name, replaced in wanted.items() if replaced is None]
    return _start([service(name, settings.home, downloads) for name in local])


def start_apps(settings: Settings) -> list[Address]:
    """Start our own processes, with these settings; tells which ran with others, never their values."""
    ours = apps(settings.home, settings.environment())
    addresses = _start(ours)
    for each in ours:
        if each.changed:
            names = ", ".join(each.changed)
            say(f"{TITLES[each.name]:<18} started anew, its settings changed: {names}", err=True)
    return addresses


def _start(services: Iterable[LocalService]) -> list[Address]:
    services = list(services)
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, ThreadPoolExecutor(8) as threads:
        starts = [threads.submit(_watched(progress, each)) for each in services]
        return [start.result() for start in starts]


def _watched(progress: Progress, each: LocalService) -> Callable[[], Address]:
    task = progress.add_task(TITLES[each.name], total=1)

    def start() -> Address:
        address = each.start()
        progress.update(task, completed=1)
        return address

    return start
