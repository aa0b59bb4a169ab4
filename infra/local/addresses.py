"""Where the running local services are, so that a second start, and other processes, find them.

The address book is one JSON file, `services.json`, in the directory that holds all local data. It names
password files but never holds a password. A process counts as ours only when its pid *and* the time it was
created match: a pid alone is reused by the system.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, TypeAdapter

from infra import private

LOOPBACK = "127.0.0.1"
WITHOUT_PASSWORD = ("mosquitto", "kafka")
"""Services that take messages from whoever reaches them."""


class Address(BaseModel):
    """One running service: its process and how to reach it."""

    model_config = ConfigDict(frozen=True)

    service: str
    pid: int
    created: float  # when the process was created, seconds since 1970 UTC
    port: int
    url: str  # without a password; see `url_with_password`
    log: Path
    user: str | None = None
    password_file: Path | None = None
    database: str | None = None
    http_port: int | None = None  # a second, HTTP port, where the service has one

    @property
    def is_open(self) -> bool:
        """Whether every user of this machine may write to it."""
        return self.service in WITHOUT_PASSWORD

    @property
    def password(self) -> str | None:
        """The password, read from its file; None where the service has none."""
        return self.password_file.read_text(encoding="utf-8").strip() if self.password_file else None

    @property
    def url_with_password(self) -> str:
        """The URL with its credentials, e.g. a Postgres DSN; never log it."""
        if self.user is None:
            return self.url
        parts = urlsplit(self.url)
        secret = f":{quote(self.password, safe='')}" if self.password is not None else ""
        return urlunsplit(parts._replace(netloc=f"{quote(self.user, safe='')}{secret}@{parts.netloc}"))


_BOOK = TypeAdapter(dict[str, Address])


class AddressBook:
    """The services recorded under one data directory (`root`, usually `.headwater`)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._file = self.root / "services.json"

    def read(self) -> dict[str, Address]:
        """Service name → address, of everything recorded; a recorded service may have died since."""
        try:
            return _BOOK.validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return {}

    def get(self, service: str) -> Address | None:
        return self.read().get(service)

    def put(self, address: Address) -> None:
        with locked(self.root / "locks" / "services"):
            self._write(self.read() | {address.service: address})

    def remove(self, service: str) -> None:
        with locked(self.root / "locks" / "services"):
            self._write({name: address for name, address in self.read().items() if name != service})

    def _write(self, addresses: dict[str, Address]) -> None:
        plain = {name: address.model_dump(mode="json") for name, address in addresses.items()}
        draft = self._file.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
        draft.replace(self._file)


def near(path: Path) -> str:
    """The path as seen from here, when it is below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the system lets go of it when its holder dies."""
    private.make(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
