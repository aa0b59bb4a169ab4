"""A backup of Postgres, taken while it works, and put in its place, as an administrator would."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from infra.local import process
from infra.local.addresses import LOOPBACK
from infra.local.postgres import PROGRAMS, USER
from tests.chaos.rig import Rig, stored_runs


class Backups:
    """The newest one; `taken_at`: what was committed before is in it (seconds since 1970 UTC)."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.taken_at = 0.0
        self.runs = frozenset[str]()  # of the robot, that are in it with their end
        self.held = False  # one is there that is to be restored

    @property
    def _place(self) -> Path:
        return self._rig.root / "backup"

    def take(self) -> None:
        """Raises RuntimeError when Postgres does not give one."""
        address = self._rig.postgres.start()
        self.runs = stored_runs(self._rig)
        shutil.rmtree(self._place, ignore_errors=True)
        self.taken_at = time.time() - 1  # a file system's clock is coarse
        where = ["-h", LOOPBACK, "-p", str(address.port), "-U", USER]
        done = subprocess.run(
            [PROGRAMS / "pg_basebackup", *where, "-D", self._place, "-Ft", "-X", "fetch", "-c", "fast"],
            env=process.CLEAN_ENVIRONMENT | {"PGPASSWORD": address.password or ""},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"No backup was taken: {done.stderr.strip()}")
        self.held = True

    def put_back(self) -> None:
        """In place of what is there; Postgres does not run."""
        data = self._rig.postgres.data
        _replace(self._place / "base.tar", data, data)
        for tables in self._place.glob("[0-9]*.tar"):
            _replace(tables, self._rig.root / "disk" / "tables", data)
        self.held = False


def _replace(archive: Path, directory: Path, like: Path) -> None:
    """What is in a directory by what is in an archive, for the owner of another one."""
    for each in directory.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
    subprocess.run(["tar", "-xpf", archive, "-C", directory], check=True)
    owner = like.stat()
    for each in directory.rglob("*"):
        os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)
