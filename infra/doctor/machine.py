"""This machine: is there room, and what may its other users do?"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.doctor.finding import Finding, Level
from infra.local.addresses import AddressBook
from infra.local.process import is_alive

PART: Final = "This machine"
LITTLE: Final = 2 * 1024**3  # bytes
OPEN_FIX: Final = "Where you do not trust them all, set the URL of a server with users of its own."


def check(home: Path) -> tuple[Finding, ...]:
    """Findings about the disk that holds `home`."""
    there = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    sentence = f"{free / 1024**3:.1f} GiB free for {home}"
    if free < LITTLE:
        room = Finding(PART, Level.WARNING, sentence, "Make room, or set HEADWATER_HOME.")
    else:
        room = Finding(PART, Level.OK, sentence)
    return (room, *_open(AddressBook(home)))


def _open(book: AddressBook) -> Iterator[Finding]:
    for address in book.read().values():
        if address.is_open and is_alive(address.pid, address.created):
            sentence = f"each of its users may write to and read from {address.url}, which has no password"
            yield Finding(PART, Level.WARNING, sentence, OPEN_FIX)
