"""A small disk for Postgres' tables, which can be filled: a file system of its own in memory, as root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.local.addresses import Address
from infra.local.postgres import DATABASE, Postgres

SIZE = "1g"
PIECES = (1 << 26, 1 << 20, 1 << 12)  # bytes


class Disk:
    """The file system and the file that fills it."""

    def __init__(self, path: Path) -> None:
        self._path, self._filler = path, path / "filler"

    def fill(self) -> None:
        """Leave not a block free: take what there is in ever smaller pieces, while others take too."""
        with self._filler.open("ab") as filler:
            for piece in PIECES:
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, piece)

    def clear(self) -> None:
        self._filler.unlink(missing_ok=True)


@contextmanager
def a_disk(root: Path) -> Iterator[Disk | None]:
    """A disk that may be full without harm to any other; None where we may not mount one."""
    path = root / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def move_there(postgres: Postgres, address: Address, root: Path) -> None:
    """Have every table that is made from now on lie on the disk; as root, Postgres' user must pass to it."""
    root.chmod(root.stat().st_mode | 0o011)
    place = root / "disk" / "tables"
    place.mkdir(mode=0o700)
    owner = postgres.data.stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    postgres.run_sql(address, f"CREATE TABLESPACE small LOCATION '{place}'")
    postgres.run_sql(address, f"ALTER DATABASE {DATABASE} SET default_tablespace = small")
