"""What is broken: services and processes of its own, on ports and in a directory of its own."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from infra.local.addresses import Address
from infra.local.app import CODE, App
from infra.local.mosquitto import Mosquitto
from infra.local.postgres import Postgres
from infra.local.registry import service
from infra.local.service import Launch, LocalService
from infra.migrate import migrate
from infra.postgres import connect
from tests.chaos.entry import MOMENT
from tests.fixtures.graph import graph_settings

LISTENERS = 2


class Entry(App):
    """A command of ours through `entry.py`; listeners are told apart by their slots."""

    patience: ClassVar[float] = 180.0  # what it needs may be away

    def __init__(self, root: Path, command: str, environment: Mapping[str, str]) -> None:
        super().__init__(root, environment=environment)
        slot = environment.get("HEADWATER_SLOT", "")
        self.name = self.role = f"{command}{slot}"  # type: ignore[misc]
        self.command = command

    def prepare(self) -> Launch:
        launch = super().prepare()
        command = [sys.executable, "-m", "tests.chaos.entry", self.command]
        (self.directory / MOMENT).unlink(missing_ok=True)
        return Launch(
            command=command,
            environment={**launch.environment, "HEADWATER_HOME": str(home(self.root))},
            url=launch.url,
            port=launch.port,
            http_port=launch.http_port,
        )

    def arm(self, moment: str) -> None:
        """Have the moment come true the next time it is reached."""
        draft = self.directory / f"{MOMENT}.draft"
        draft.write_text(moment)
        draft.replace(self.directory / MOMENT)

    @property
    def armed(self) -> bool:
        """Whether the moment is still to come."""
        return (self.directory / MOMENT).exists()

    def disarm(self) -> bool:
        """Whether the moment had come."""
        try:
            (self.directory / MOMENT).unlink()
        except FileNotFoundError:
            return True
        return False


@dataclass(frozen=True, slots=True)
class Rig:
    """Everything that runs."""

    root: Path
    postgres: LocalService
    graph: LocalService
    broker: LocalService
    listeners: tuple[Entry, ...]
    relay: Entry
    environment: Mapping[str, str]

    @property
    def targets(self) -> tuple[LocalService, ...]:
        return (*self.listeners, self.relay, self.postgres, self.graph, self.broker)

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
        database = self.broker.directory / "mosquitto.db"
        return database.stat().st_mtime if database.exists() else 0.0

    def drain(self) -> None:
        """End the listeners, and take what the broker still keeps for each."""
        with ThreadPoolExecutor(LISTENERS) as together:
            list(together.map(LocalService.stop, self.listeners))
            list(together.map(self._drain, range(LISTENERS)))

    def _drain(self, slot: int) -> None:
        command = [sys.executable, "-m", "tests.chaos.entry", "listen", "--drain"]
        own = {"HEADWATER_METRICS_PORT": "0", "HEADWATER_SLOT": str(slot)}
        status, _ = self.run(*command, log=f"drain{slot}", **own)
        if status:
            raise RuntimeError(f"Slot {slot} was not drained: see {self.root}/log/drain{slot}.log.")

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
def a_rig(root: Path, downloads: Path, graph: str) -> Iterator[Rig]:
    """Everything, running; stopped afterwards, however it ends."""
    postgres, broker = Postgres(root), Mosquitto(root, downloads)
    graphs = service(graph, root, downloads)
    started: list[LocalService] = [postgres, broker, graphs]
    try:
        environment = _environment(*(each.start() for each in started))
        asyncio.run(_migrate(environment["HEADWATER_POSTGRES_DSN"]))
        listeners = tuple(
            Entry(root, "listen", {**environment, "HEADWATER_SLOT": str(slot)}) for slot in range(LISTENERS)
        )
        relay = Entry(root, "relay", environment)
        for entry in (*listeners, relay):
            started.append(entry)
            entry.start()
        yield Rig(root, postgres, graphs, broker, listeners, relay, environment)
    finally:
        for each in reversed(started):
            each.kill()


def home(root: Path) -> Path:
    """Our processes' home: another than the services', whose names a home knows all."""
    return root / "home"


def running(of: LocalService) -> Address:
    """Where it runs; raises RuntimeError when it does not."""
    address = of.address()
    if address is None:
        raise RuntimeError(f"{of.name} does not run: {of.log_tail()}")
    return address


def _environment(postgres: Address, broker: Address, graph: Address) -> dict[str, str]:
    return {
        "HEADWATER_POSTGRES_DSN": postgres.url_with_password,
        "HEADWATER_MQTT_URL": broker.url,
        **graph_settings(graph),
    }


async def _migrate(dsn: str) -> None:
    connection = await connect(dsn, application="chaos")
    try:
        await migrate(connection)
    finally:
        await connection.close()
