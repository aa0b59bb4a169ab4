"""OpenLineage and PROV, composed: our record for others, and theirs for our record."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import IO
from urllib.parse import urlsplit

from flows.process import stores
from infra import connection
from infra.openlineage import checked, sender
from infra.postgres import Connection
from infra.settings import Settings
from lineage import naming, seal
from lineage.commits import read_commits, run_names
from lineage.errors import SettingsError, UnavailableError
from lineage.openlineage.documents import documents
from lineage.openlineage.export import Event, Exporter, Field, Known, Schemas
from lineage.openlineage.keep import Imported, import_events
from lineage.openlineage.listing import Listed, list_events
from lineage.openlineage.names import Names
from lineage.prov import Document
from tasks.contract import Contract
from tasks.tables.contracts import stored_contracts

EVENTS_PER_COMMIT = 500


def names(settings: Settings) -> Names:
    """Where our stores are: as the settings say for OpenLineage, else where we reach them ourselves."""
    places = dict(settings.openlineage_namespaces)
    if "postgres" not in places:
        places["postgres"] = _place(stores.postgres_dsn(settings), "postgres", 5432)
    if "mqtt" not in places and (url := _broker(settings)):
        places["mqtt"] = _place(url, "mqtt", 1883)
    for name, secret in settings.connections.items():
        if connection.parts_of(secret).kind == "mqtt":
            places.setdefault(f"mqtt+{name}", _place(secret.get_secret_value(), "mqtt", 1883))
    return Names(places)


def _broker(settings: Settings) -> str | None:
    try:
        return stores.mqtt(settings).url.get_secret_value()
    except (SettingsError, UnavailableError):  # a house without a broker
        return None


def _place(url: str, scheme: str, port: int) -> str:
    """A URL without who logs in and how; of several hosts the first."""
    parts = urlsplit(url)
    first = urlsplit(f"//{parts.netloc.rpartition('@')[2].partition(',')[0]}")
    database = parts.path.strip("/") or (parts.username or "" if scheme == "postgres" else "")
    return f"{scheme}://{first.hostname or 'localhost'}:{first.port or port}/{database}"


def _reading(settings: Settings) -> AbstractAsyncContextManager[Connection]:
    return stores.open_connection(settings, "lineage", statement_timeout=timedelta(0))


async def exported(settings: Settings, since: datetime | None) -> AsyncGenerator[Event, None]:
    """The record as OpenLineage events, each checked against the published schema."""
    async with _reading(settings) as connection:
        known = Known(await _schemas(connection), await run_names(connection))
        ours = replace(names(settings), store=await seal.identity(connection))
        exporter = Exporter(ours, known)
        async with aclosing(read_commits(connection, since)) as commits:
            async for commit in commits:
                for event in exporter.events(commit):
                    checked(event)
                    yield event


async def _schemas(connection: Connection) -> Schemas:
    """The newest contract of every table."""
    versions = await stored_contracts(connection)
    return {naming.postgres(table): _fields(newest) for table, (newest, *_) in versions.items()}


def _fields(contract: Contract) -> list[Field]:
    return [
        Field(column.name, column.type.value, ", ".join(filter(None, (column.doc, column.unit))) or None)
        for column in contract.columns
    ]


def server(settings: Settings, url: str) -> Callable[[Event], None]:
    """Sends an event to an OpenLineage server, with the key of the settings."""
    send = sender(url, settings.openlineage_api_key)
    return lambda event: send(checked(event))


async def provenance(settings: Settings, since: datetime | None) -> Mapping[str, object]:
    """The record as one PROV-JSON document; it is made in memory."""
    document = Document()
    async with _reading(settings) as connection:
        async for commit in read_commits(connection, since):
            document.add(commit)
    return document.content()


async def imported(settings: Settings, file: IO[bytes], name: str) -> Imported:
    """Import the events of a file, see `documents`. After an error, import the same again."""
    total = Imported()
    async with stores.open_store(settings, "lineage import") as store:
        for chunk in _chunks(documents(file, name)):
            async with store.work() as session:
                ours = replace(names(settings), store=await seal.identity(session.connection))
                done = await import_events(session.connection, session.writer, chunk, ours)
            total = total.and_then(done)
    return total


def _chunks(events: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(events, EVENTS_PER_COMMIT)):
        yield chunk


async def listed(settings: Settings, limit: int, *, every: bool) -> Listed:
    """Imported events with something the graph does not show."""
    async with _reading(settings) as connection:
        return await list_events(connection, limit, every=every)
