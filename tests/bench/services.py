"""The servers of a run of the bench, in a directory of its own that goes with them."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from infra.graph import BoltGraph, open_graph
from infra.local import process
from infra.local.addresses import LOOPBACK, Address
from infra.local.embedded_graph import EmbeddedGraph
from infra.local.kafka_server import Kafka
from infra.local.postgres import PROGRAMS, Postgres
from infra.local.prefect_server import PrefectServer
from infra.local.services import stop_all
from infra.migrate import migrate
from infra.postgres import connect
from lineage import graph as graphs
from tasks.tables.tables import prepare_table
from tests.bench import readings
from tests.fixtures.catalogs import pipeline
from tests.fixtures.graph import endpoint_of, graph_settings
from tests.fixtures.mosquitto import NO_SAVING, Broker
from tests.fixtures.prefect import variables

ROOT = Path(__file__).parents[2]
DOWNLOADS = ROOT / ".headwater" / "downloads"


class Services:
    """Each server starts when it is first needed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = count(1)

    @cached_property
    def broker(self) -> Broker:
        """It does not save while it runs: a save writes all that is queued, and is paid for by both sides."""
        broker = Broker(self.directory / "broker", DOWNLOADS, [NO_SAVING])
        broker.start()
        return broker

    @cached_property
    def _postgres(self) -> tuple[Postgres, Address]:
        service = Postgres(self.directory)
        return service, service.start()

    @cached_property
    def kafka(self) -> Address:
        return Kafka(self.directory, DOWNLOADS).start()

    @cached_property
    def prefect(self) -> Address:
        return PrefectServer(self.directory).start()

    @cached_property
    def graph_address(self) -> Address:
        return EmbeddedGraph(self.directory).start()

    @asynccontextmanager
    async def graph(self) -> AsyncIterator[BoltGraph]:
        """The graph, emptied."""
        service, address = EmbeddedGraph(self.directory), self.graph_address
        service.command(address, f"drop database {address.database}")
        service.command(address, f"create database {address.database}")
        async with open_graph(endpoint_of(address)) as graph:
            await graphs.migrate(graph)
            yield graph

    @asynccontextmanager
    async def database(self, devices: int = readings.DEVICES, like: str = "") -> AsyncIterator[str]:
        """The DSN of a new database with the tables of the readings and the register of the devices.

        `like`: a copy of the database of that DSN, which nobody is connected to.
        """
        service, address = self._postgres
        name = f"bench_{next(self._numbers)}"
        template = like.rsplit("/", 1)[-1] or "template1"
        service.run_sql(address, f"CREATE DATABASE {name} TEMPLATE {template}")
        dsn = address.url_with_password.rsplit("/", 1)[0] + f"/{name}"
        if not like:
            await _prepare(dsn, devices)
        service.run_sql(address, "CHECKPOINT")  # nobody pays for the round before
        try:
            yield dsn
        finally:
            service.run_sql(address, f"DROP DATABASE {name} WITH (FORCE)")

    def psql(self, dsn: str, statement: str) -> None:
        """Run psql as its users do."""
        command = [PROGRAMS / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", statement]
        subprocess.run(command, check=True, env=process.CLEAN_ENVIRONMENT, capture_output=True)

    def environment(self, dsn: str) -> Mapping[str, str]:
        """What a process of ours is told."""
        told = {
            "HEADWATER_HOME": str(self.directory / "home"),
            "HEADWATER_POSTGRES_DSN": dsn,
            "HEADWATER_METRICS_PORT": str(process.free_port()),
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        }
        if "broker" in self.__dict__:
            told["HEADWATER_MQTT_URL"] = self.broker.url.replace("localhost", LOOPBACK)
        if "kafka" in self.__dict__:
            told["HEADWATER_KAFKA_URL"] = self.kafka.url
        if "prefect" in self.__dict__:
            told |= variables(self.prefect)
        if "graph_address" in self.__dict__:
            told |= graph_settings(self.graph_address)
        return {**os.environ, **told}

    @contextmanager
    def child(
        self, module: str, *arguments: str, dsn: str = "", **settings: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a program of the bench; what it measured is on its standard output."""
        command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
        with self._log(module).open("a") as log:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.environment(dsn), **settings},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    async def ready(self, child: subprocess.Popen[str]) -> None:
        """Wait until a program of the bench says that it is."""
        assert child.stdout is not None
        line = await asyncio.to_thread(child.stdout.readline)
        if json.loads(line or "{}") != {"ready": True}:
            raise RuntimeError("a program of the bench did not become ready")

    async def result(self, module: str, *arguments: str, dsn: str = "") -> Mapping[str, Any]:
        """Run a program of the bench; the JSON it printed."""
        with self.child(module, *arguments, dsn=dsn) as child:
            return await self.ended(child, module)

    async def ended(self, child: subprocess.Popen[str], module: str) -> Mapping[str, Any]:
        """Wait for a program of the bench to end; the JSON it printed."""
        out, _ = await asyncio.to_thread(child.communicate)
        if child.returncode or not out:
            raise RuntimeError(f"{module} failed: {self._log(module).read_text()[-4000:]}")
        found: Mapping[str, Any] = json.loads(out.splitlines()[-1])
        return found

    def _log(self, module: str) -> Path:
        return self.directory / f"{module}.log"


async def _prepare(dsn: str, devices: int) -> None:
    connection = await connect(dsn, application="bench")
    try:
        await migrate(connection)
        for contract in pipeline("sensors").contracts.values():
            await prepare_table(connection, contract)
        register: pl.DataFrame = readings.register(devices)
        await connection.copy_records_to_table(
            "devices", schema_name="store", records=register.rows(), columns=register.columns
        )
    finally:
        await connection.close()


@contextmanager
def services() -> Iterator[Services]:
    """The servers, which end with the block."""
    with tempfile.TemporaryDirectory(prefix="headwater bench ", ignore_cleanup_errors=True) as directory:
        try:
            yield Services(Path(directory))
        finally:
            for book in Path(directory).rglob("services.json"):
                stop_all(book.parent)
