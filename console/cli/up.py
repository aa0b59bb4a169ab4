"""`headwater up` and `down`: everything on this machine, left running until it is told to stop."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from console.cli.start import start, start_prefect
from console.cli.starting import TITLES, GraphEngine, engine_named, graph_engine, start_apps, start_services
from console.cli.table import Json, print_json, say
from infra.local.addresses import Address, near
from infra.local.prefect_server import PrefectServer
from infra.local.services import ended, stop_all
from infra.settings import Settings, load

Graph = Annotated[
    GraphEngine | None,
    typer.Option(
        parser=engine_named,
        metavar="|".join(GraphEngine),
        help="Which local graph; by default the one that runs, else embedded.",
        show_default=False,
    ),
]
Kafka = Annotated[bool, typer.Option("--kafka", help="Start a local Kafka too.")]
ServicesOnly = Annotated[bool, typer.Option("--services-only", help="Start no process of our own.")]


def up(
    graph: Graph = None, kafka: Kafka = False, services_only: ServicesOnly = False, as_json: Json = False
) -> None:
    """Start the local services and our processes, print every address, and leave them running.

    What runs is left as it is; a process of ours whose settings have changed is started anew.
    """
    given = start()
    addresses = start_services(given, graph_engine(given.home, graph), kafka=kafka)
    settings = start_prefect()
    asyncio.run(prepare(settings))
    if not services_only:
        addresses += start_apps(settings)
    if as_json:
        print_json([_facts(address) for address in addresses])
    else:
        show(addresses)


def down(as_json: Json = False) -> None:
    """Stop what `headwater up` started; the data stays."""
    home = load().home
    dead = ended(home)
    stopped = [name for name in stop_all(home) if name not in dead]
    if as_json:
        print_json({"stopped": stopped, "ended": list(dead)})
        return
    for name, log in dead.items():
        say(f"{TITLES[name]} had ended by itself, see {near(log)}")
    for sentence in [f"stopped {TITLES[name]}" for name in stopped] or ["nothing was running"]:
        say(sentence)


async def prepare(settings: Settings) -> None:
    """Bring Postgres and the graph to what this code needs."""
    from flows import catalog
    from flows.acts.partitions import extend
    from flows.process.stores import prepare_graph

    await extend(settings, catalog.read(settings), datetime.now(UTC))
    await prepare_graph(settings)


def show(addresses: Iterable[Address]) -> None:
    """Every address on a line, and what goes with it on the next."""
    for address in addresses:
        facts = _facts(address)
        say(f"{facts['service']:<18} {facts['url']}")
        also = [
            *([f"user {facts['user']}"] if facts["user"] else []),
            *([f"password in {facts['password_file']}"] if facts["password_file"] else []),
            *([f"see {facts['page']}"] if facts["page"] else []),
            *(["log in there with user:password"] if address.service == PrefectServer.name else []),
            *(["no password: open to every user of this machine"] if address.is_open else []),
            f"log in {facts['log']}",
        ]
        say(f"{'':<18} {', '.join(also)}")


def _facts(address: Address) -> dict[str, Any]:
    page = None
    if address.http_port is not None and address.url.startswith("http://"):  # the graph's takes commands only
        page = f"http://127.0.0.1:{address.http_port}"
        page += "/metrics" if address.url == page else ""
    return {
        "service": TITLES.get(address.service, address.service),
        "url": address.url,
        "user": address.user,
        "password_file": near(address.password_file) if address.password_file else None,
        "page": page,
        "log": near(address.log),
    }
