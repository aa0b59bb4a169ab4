"""Every local service by its name: one file and one line here for each."""

from collections.abc import Mapping
from pathlib import Path

from infra.local.addresses import AddressBook
from infra.local.app import App, Listener, Relay, Worker
from infra.local.embedded_graph import EmbeddedGraph
from infra.local.kafka_server import Kafka
from infra.local.mosquitto import Mosquitto
from infra.local.neo4j_server import Neo4j
from infra.local.postgres import Postgres
from infra.local.prefect_server import PrefectServer
from infra.local.process import is_alive
from infra.local.service import LocalService
from lineage.errors import NotFoundError

SERVICES: dict[str, type[LocalService]] = {
    service.name: service
    for service in (Postgres, EmbeddedGraph, Neo4j, Mosquitto, Kafka, PrefectServer, Listener, Relay, Worker)
}
"""In the order they start; they end in the opposite one."""


def service(name: str, root: Path, downloads: Path | None = None) -> LocalService:
    """The service of that name with its data under `root`; raises NotFoundError."""
    if name not in SERVICES:
        raise NotFoundError(f"There is no local service {name!r}: choose from {', '.join(SERVICES)}.")
    return SERVICES[name](root, downloads)


def apps(root: Path, environment: Mapping[str, str]) -> tuple[App, ...]:
    """Our own processes, with the settings they are to have as variables."""
    return tuple(app(root, environment=environment) for app in (Listener, Relay, Worker))


def endpoints(root: Path) -> dict[str, dict[str, str]]:
    """Role → what a client needs (`url`, `user`, `password`, `database`, where there is one), of what runs.

    Roles are `postgres`, `graph`, `mqtt`, `kafka`, `prefect` and our own processes' names; when two graphs
    run, the one started last counts. Holds passwords: never log it.
    """
    found: dict[str, dict[str, str]] = {}
    for address in sorted(AddressBook(root).read().values(), key=lambda each: each.created):
        if is_alive(address.pid, address.created):
            known = {
                "url": address.url,
                "user": address.user,
                "password": address.password,
                "database": address.database,
            }
            role = SERVICES[address.service].role
            found[role] = {name: value for name, value in known.items() if value is not None}
    return found


def ended(root: Path) -> dict[str, Path]:
    """Service → its log, of what is recorded and does not run: it ended, and nobody stopped it."""
    standing = AddressBook(root).read().values()
    return {each.service: each.log for each in standing if not is_alive(each.pid, each.created)}


def stop_all(root: Path) -> tuple[str, ...]:
    """Stop every service recorded under `root`, and forget those that ended; returns their names."""
    standing = AddressBook(root).read()
    names = tuple(name for name in reversed(SERVICES) if name in standing)
    for name in names:
        service(name, root).stop()
    return names
