"""What every local service has in common: start once, wait until it is ready, be found again, stop.

A service is one class that says how to prepare its directory, which command to run, and how to tell that it
answers. Starting is safe to race: a lock per service lets one starter through, the others find its server.
"""

import importlib.util
import secrets
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from infra import private
from infra.local import process
from infra.local.addresses import Address, AddressBook, locked
from lineage.errors import SettingsError, UnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to run a server, and what its address will be once it runs."""

    command: Sequence[str | Path]
    url: str  # without a password
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    password_file: Path | None = None
    database: str | None = None
    http_port: int | None = None
    runs_as: process.SystemUser | None = None
    directory: Path | None = None  # where it runs; None: in the service's directory


class LocalService(ABC):
    """A server on loopback whose data lives under `root`; `start` and `stop` block, without asyncio."""

    name: ClassVar[str]
    role: ClassVar[str]  # what it serves as: "postgres", "graph", "mqtt", "kafka" or "prefect"
    patience: ClassVar[float] = 60.0  # seconds to become ready
    stop_patience: ClassVar[float] = 20.0  # seconds to end before it is killed
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, root: Path, downloads: Path | None = None) -> None:
        """`root` is the directory of all local data (`.headwater`); it may hold spaces and need not exist.

        `downloads` is where what a service downloads is kept, by default under `root`.
        """
        self.root = root.absolute()
        self.downloads = downloads.absolute() if downloads else self.root / "downloads"
        self.book = AddressBook(self.root)

    @property
    def directory(self) -> Path:
        """Where this service keeps its data."""
        return self.root / self.name

    @property
    def log(self) -> Path:
        return self.root / "log" / f"{self.name}.log"

    def start(self) -> Address:
        """Start the server, or find the one that runs, and wait until it is ready.

        Raises UnavailableError when it does not become ready (with the end of its log), SettingsError when
        something is missing that we cannot install.
        """
        with self._lock():
            running = self._recorded()
            if running and self.is_as_asked(running) and self._becomes_ready(running):
                return running
            self._end()
            private.own(self.directory)
            return self._launch()

    def address(self) -> Address | None:
        """The running server's address, or None; asks the process table, not the server."""
        return self._recorded()

    def ready(self) -> bool:
        """Whether the recorded server runs and answers now."""
        address = self._recorded()
        return address is not None and self.answers(address)

    def stop(self) -> None:
        """End the recorded server, if it runs; its data stays. Does nothing to a process that is not ours."""
        with self._lock():
            self._end()

    def kill(self) -> None:
        """End the recorded server as a power cut would; for finding out what survives."""
        with self._lock():
            self._end(signal.SIGKILL)

    def provision(self) -> None:  # noqa: B027 -- most services come with our packages
        """Install or download what the server needs, and keep it; `start` does so too."""

    @abstractmethod
    def prepare(self) -> Launch:
        """Install what is missing, write configuration, choose ports. The server does not run."""

    @abstractmethod
    def answers(self, address: Address) -> bool:
        """Whether the server serves requests; quick, and never raises because it does not."""

    def is_as_asked(self, address: Address) -> bool:
        """Whether what runs is what a start would start; if not, it is started anew."""
        return True

    def settle(self, address: Address) -> None:  # noqa: B027 -- most services need none
        """What is left to do once the server answers, e.g. create a database; repeatable."""

    def password(self) -> Path:
        """A file with a password generated for this service, readable by its owner only."""
        path = self.directory / "password"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        return path

    def port(self, name: str = "port") -> int:
        """This service's port: the same as last time if it is still free, so that a restart moves nothing."""
        remembered = self.directory / name
        if remembered.exists():
            port = int(remembered.read_text(encoding="utf-8"))
            if process.is_free(port):
                return port
        port = process.free_port()
        remembered.write_text(str(port), encoding="utf-8")
        return port

    def log_tail(self, lines: int = 8) -> str:
        """The end of the server's log, for an error's sentence."""
        try:
            return " | ".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "it wrote no log"

    def _lock(self) -> AbstractContextManager[None]:
        return locked(self.root / "locks" / self.name)

    def _recorded(self) -> Address | None:
        address = self.book.get(self.name)
        return address if address and process.is_alive(address.pid, address.created) else None

    def _launch(self) -> Address:
        launch = self.prepare()
        pid = process.spawn(
            launch.command,
            log=self.log,
            directory=launch.directory or self.directory,
            environment=launch.environment,
            user=launch.runs_as,
        )
        address = Address(
            service=self.name,
            pid=pid,
            created=process.created(pid) or time.time(),
            port=launch.port,
            url=launch.url,
            log=self.log,
            user=launch.user,
            password_file=launch.password_file,
            database=launch.database,
            http_port=launch.http_port,
        )
        self.book.put(address)  # before it is ready: whatever happens to us now, `stop` finds it
        try:
            self._wait_until_ready(address)
            self.settle(address)
        except BaseException:
            self._end()
            raise
        return address

    def _wait_until_ready(self, address: Address) -> None:
        if not self._becomes_ready(address):
            reason = f"it did not become ready, its log ends: {self.log_tail()}"
            raise UnavailableError(self.name, reason, f"See {self.log}.")

    def _becomes_ready(self, address: Address) -> bool:
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline and process.is_alive(address.pid, address.created):
            if self.answers(address):
                return True
            time.sleep(0.05)
        return False

    def _end(self, how: signal.Signals | None = None) -> None:
        address = self.book.get(self.name)
        if address is None:
            return
        process.end(address.pid, address.created, how=how or self.stop_signal, patience=self.stop_patience)
        self.book.remove(self.name)


def package_directory(package: str) -> Path:
    """Where an installed package lies, found without importing it: that may load Java, or make files."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SettingsError(f"The package {package} is not installed: run `make setup`.")
    return Path(found.origin).parent
