"""Opens and closes what a process writes to; the only place that does, so every lifetime is seen here."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import SecretStr

from infra import key_file
from infra.endpoints import (
    resolve_connection,
    resolve_graph,
    resolve_kafka,
    resolve_mqtt,
    resolve_postgres,
)
from infra.kafka import KafkaAddress
from infra.local.services import endpoints
from infra.migrate import migrate
from infra.mqtt.address import MqttEndpoint
from infra.postgres import Connection, UniqueViolation, connect, met_another, open_pool, translated
from infra.settings import Settings
from lineage import graph as graphs
from lineage.errors import ContractError, RejectedError
from tasks.contract import Contract
from tasks.load.digest_keys import known_keys, remember_key
from tasks.load.store import Store
from tasks.tables.tables import prepare_table

if TYPE_CHECKING:
    from infra.graph import BoltGraph

log = structlog.get_logger(__name__)

LACKS_KEY: Final = "this host lacks the key that rows are digested with, what it commits is proved without"
COPY_KEY: Final = "Copy the file from a host that has it (HEADWATER_KEY_FILE)."


def postgres_dsn(settings: Settings) -> str:
    """Where Postgres is, with its password: not for the eyes of people."""
    return resolve_postgres(settings, endpoints(settings.home)).dsn.get_secret_value()


def mqtt(settings: Settings, named: str | None = None) -> MqttEndpoint:
    """Where the broker is, or the one of a named connection."""
    return resolve_mqtt(settings, endpoints(settings.home), named)


def kafka(settings: Settings, named: str | None = None) -> KafkaAddress:
    """Where Kafka is, or that of a named connection."""
    return resolve_kafka(settings, endpoints(settings.home), named)


def connection(settings: Settings, named: str | None) -> SecretStr:
    """The URL of a named connection; raises UnavailableError where it is not set."""
    if named is None:
        raise ContractError("its source names no connection: write `connection: NAME`.")
    return resolve_connection(settings, named)


@asynccontextmanager
async def open_store(settings: Settings, application: str) -> AsyncIterator[Store]:
    """Where commits go. Connections are made when they are first needed."""
    dsn = postgres_dsn(settings)
    keys = key_file.read(settings.digest_keys)
    async with (
        open_pool(dsn, application=application) as pool,
        Store(
            dsn,
            pool,
            application=application,
            keys=keys,
            statement_timeout=settings.statement_timeout,
            commit_timeout=settings.commit_timeout,
        ) as store,
    ):
        yield store


@asynccontextmanager
async def open_connection(
    settings: Settings, application: str, *, statement_timeout: timedelta = timedelta(minutes=1)
) -> AsyncIterator[Connection]:
    """One connection to Postgres, whose errors are ours; with a timeout of zero a statement takes its time.

    Raises UnavailableError when Postgres is away. At the end the connection is cut: nothing waits for it.
    """
    milliseconds = round(statement_timeout.total_seconds() * 1000)
    connection = await connect(
        postgres_dsn(settings), application=application, statement_timeout_ms=milliseconds
    )
    try:
        with translated():
            yield connection
    except UniqueViolation as error:
        raise met_another(error) from error
    finally:
        connection.terminate()


@asynccontextmanager
async def open_graph(settings: Settings) -> AsyncIterator["BoltGraph"]:
    """Where lineage is queried."""
    from infra import graph as bolt  # here: the driver takes 50 MB, and no listener needs it

    async with bolt.open_graph(resolve_graph(settings, endpoints(settings.home))) as graph:
        yield graph


async def prepare_tables(settings: Settings, contracts: Iterable[Contract]) -> None:
    """Bring the schema and the contracts' tables to what this code needs; raises UnavailableError."""
    async with open_connection(settings, "prepare") as connection:
        await migrate(connection)
        for contract in contracts:
            await prepare_table(connection, contract)
        await _prepare_key(settings, connection)


async def _prepare_key(settings: Settings, connection: Connection) -> None:
    """Make this host's key where no host has one; a host that lacks it works on, told, without."""
    host = key_file.read(settings.digest_keys)
    async with connection.transaction():
        if host.current is None and not await known_keys(connection, alone=True):
            host = key_file.create(settings.digest_keys)
        if host.current is not None:
            await remember_key(connection, host.current)
            return
    log.warning(LACKS_KEY, file=str(settings.digest_keys), fix=COPY_KEY)


async def prepare_each(settings: Settings, contracts: Iterable[Contract]) -> list[Contract]:
    """The same, of many tables: those that are ready. One that cannot be is told, and stops no other."""
    ready = []
    async with open_connection(settings, "prepare") as connection:
        await migrate(connection)
        for contract in contracts:
            try:
                await prepare_table(connection, contract)
            except RejectedError as error:
                log.exception("a table is left out", table=contract.table, reason=str(error))
            else:
                ready.append(contract)
        await _prepare_key(settings, connection)
    return ready


async def prepare_graph(settings: Settings) -> None:
    """Create the graph's constraints and indexes; raises UnavailableError."""
    async with open_graph(settings) as graph:
        await graphs.migrate(graph)
