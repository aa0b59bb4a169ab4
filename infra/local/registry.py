"""Every local service by its name: one file and one line here for each."""

from pathlib import Path

from infra.local.addresses import AddressBook
from infra.local.embedded_graph import EmbeddedGraph
from infra.local.mosquitto import Mosquitto
from infra.local.neo4j_server import Neo4j
from infra.local.postgres import Postgres
from infra.local.prefect_server import PrefectServer
from infra.local.service import LocalService
from lineage.errors import NotFoundError

SERVICES: dict[str, type[LocalService]] = {
    service.name: service for service in (Postgres, EmbeddedGraph, Neo4j, Mosquitto, PrefectServer)
}


def service(name: str, root: Path, downloads: Path | None = None) -> LocalService:
    """The service of that name with its data under `root`; raises NotFoundError."""
    if name not in SERVICES:
        raise NotFoundError(f"There is no local service {name!r}: choose from {', '.join(SERVICES)}.")
    return SERVICES[name](root, downloads)


def stop_all(root: Path) -> tuple[str, ...]:
    """Stop every service recorded under `root`; returns their names."""
    names = tuple(AddressBook(root).read())
    for name in names:
        service(name, root).stop()
    return names
