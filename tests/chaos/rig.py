"""What is broken: services and processes of its own, on ports and in a directory of its own."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.catalog import SHIPPED
from infra.local.addresses import Address
from infra.local.app import CODE
from infra.local.kafka_server import Kafka
from infra.local.mosquitto import Mosquitto
from infra.local.postgres import DATABASE, Postgres
from infra.local.prefect_server import PrefectServer
from infra.local.service import LocalService
from infra.local.services import service
from infra.migrate import migrate
from infra.postgres import connect
from lineage.errors import UnavailableError
from tests.chaos import topic
from tests.chaos.disk import Disk, a_disk, move_there
from tests.chaos.process import Processes, home
from tests.chaos.proxy import Proxy
from tests.chaos.robot import Player
from tests.chaos.ways import KAFKA, ROBOT
from tests.fixtures.graph import graph_settings
from tests.fixtures.prefect import variables

ENDED = "SELECT experiment_id FROM experiments WHERE status IN ('succeeded', 'failed')"
HEADWATER = str(Path(sys.executable).with_name("headwater"))


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Everything that runs; what a run without some way in leaves out is None or empty."""

    root: Path
    postgres: Postgres
    graph: LocalService
    broker: Mosquitto
    kafka: Kafka | None
    player: Player | None
    disk: Disk | None
    proxies: tuple[Proxy, ...]
    environment: Mapping[str, str]
    ours: Processes

    @property
    def targets(self) -> tuple[LocalService, ...]:
        """All that may be broken."""
        servers: tuple[LocalService | None, ...] = (self.postgres, self.graph, self.broker, self.kafka)
        return (*self.ours.all, *(each for each in servers if each))

    @property
    def dsn(self) -> str:
        return self.environment["HEADWATER_POSTGRES_DSN"]

    @property
    def contracts(self) -> Path:
        """The contracts our processes have."""
        return Path(self.environment["CHAOS_PIPELINES"]) / "sensors" / "tables"

    def snapshot(self) -> None:
        """Have the broker write its snapshot: it must not forget the listeners' sessions."""
        before = self.snapshot_at()
        psutil.Process(running(self.broker).pid).send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while self.snapshot_at() <= before:
            if time.monotonic() > deadline:
                raise TimeoutError("Mosquitto has written no snapshot.")
            time.sleep(0.05)

    def snapshot_at(self) -> float:
        """When the broker last wrote all it knows, seconds since 1970 UTC; 0: never."""
        return self.database.stat().st_mtime if self.database.exists() else 0.0

    @property
    def database(self) -> Path:
        """Where the broker keeps what it knows."""
        return self.broker.directory / "mosquitto.db"

    def entry(self, *command: str, log: str, **environment: str) -> tuple[int, bytes]:
        """Run one of our commands to its end, as `entry.py` runs them; its exit status and its stdout."""
        environment |= {"HEADWATER_METRICS_PORT": "0"}
        return self.run(sys.executable, "-m", "tests.chaos.entry", *command, log=log, **environment)

    def drain(self, slot: int) -> None:
        """Take what the broker still keeps for a slot, and end its session."""
        status, _ = self.entry("listen", "--drain", log=f"drain{slot}", HEADWATER_SLOT=str(slot))
        if status:
            raise RuntimeError(f"Slot {slot} was not drained: see {self.root}/log/drain{slot}.log.")

    def sql(self, statement: str) -> str:
        """What psql answers; raises UnavailableError."""
        address = self.postgres.address()
        if address is None:
            raise UnavailableError("Postgres", "it does not run")
        return self.postgres.run_sql(address, statement, DATABASE)

    def run(self, *command: str, log: str, **environment: str) -> tuple[int, bytes]:
        """Run a command to its end; its exit status and its stdout. Its stderr goes to the log."""
        own = {"HEADWATER_HOME": str(home(self.root)), "PYTHONPATH": str(CODE)}
        with (self.root / "log" / f"{log}.log").open("ab") as errors:
            done = subprocess.run(
                command,
                cwd=self.root,
                env={**os.environ, **self.environment, **environment, **own},
                stdout=subprocess.PIPE,
                stderr=errors,
                check=False,
            )
        return done.returncode, done.stdout


@contextmanager
def a_rig(root: Path, downloads: Path, graph: str, ways: frozenset[str], seed: int) -> Iterator[Rig]:
    """Everything, running; stopped afterwards, however it ends."""
    with ExitStack() as opened:

        def started(each: LocalService) -> Address:
            opened.callback(each.kill)
            return each.start()

        disk = opened.enter_context(a_disk(root))
        postgres, broker = Postgres(root), Mosquitto(root, downloads)
        graphs = service(graph, root, downloads)
        kafka = Kafka(root, downloads) if KAFKA.name in ways else None
        addresses = started(postgres), started(broker), started(graphs)
        if disk:
            move_there(postgres, addresses[0], root)
        environment = {**_settings(*addresses), **_places(root)}
        asyncio.run(_migrate(environment["HEADWATER_POSTGRES_DSN"]))
        if kafka:
            environment["HEADWATER_KAFKA_URL"] = started(kafka).url
            topic.make(running(kafka).port)
        player = Player(addresses[1].url, seed) if ROBOT in ways else None
        if player:
            environment |= variables(started(PrefectServer(root)), "chaos")
            environment["HEADWATER_ROBOTS"] = f"ot2={player.up()}"
        names = ("postgres", "broker", "graph")
        proxies = tuple(
            opened.enter_context(Proxy(name, to.port)) for name, to in zip(names, addresses, strict=True)
        )
        rig = Rig(
            root=root,
            postgres=postgres,
            graph=graphs,
            broker=broker,
            kafka=kafka,
            player=player,
            disk=disk,
            proxies=proxies,
            environment=environment,
            ours=Processes.of(root, environment, _through(environment, proxies), ways, downloads),
        )
        with ThreadPoolExecutor(len(rig.ours.all)) as together:
            list(together.map(started, rig.ours.all))
        yield rig


def stored_runs(rig: Rig) -> frozenset[str]:
    """The robot's runs that are stored with their end."""
    if rig.sql("SELECT to_regclass('experiments') IS NULL") == "t":
        return frozenset()
    return frozenset(rig.sql(ENDED).split())


def running(of: LocalService) -> Address:
    """Where it runs; raises RuntimeError when it does not."""
    address = of.address()
    if address is None:
        raise RuntimeError(f"{of.name} does not run: {of.log_tail()}")
    return address


def _settings(postgres: Address, broker: Address, graph: Address) -> dict[str, str]:
    return {
        "HEADWATER_POSTGRES_DSN": postgres.url_with_password,
        "HEADWATER_MQTT_URL": broker.url,
        **graph_settings(graph),
    }


def _places(root: Path) -> dict[str, str]:
    """Where files are dropped, and a copy of the contracts that may be changed."""
    shutil.copytree(SHIPPED, root / "pipelines")
    return {"HEADWATER_FILES": str(root / "files"), "CHAOS_PIPELINES": str(root / "pipelines")}


def _through(environment: Mapping[str, str], proxies: tuple[Proxy, ...]) -> dict[str, str]:
    """The settings with the proxies' ports for those behind them."""
    changed = dict(environment)
    for proxy in proxies:
        for name, value in changed.items():
            changed[name] = value.replace(f"127.0.0.1:{proxy.to}", f"127.0.0.1:{proxy.port}")
    return changed


async def _migrate(dsn: str) -> None:
    connection = await connect(dsn, application="chaos")
    try:
        await migrate(connection)
    finally:
        await connection.close()
