"""Where files go that are committed: to the archive, each under a name that is free and not too long."""

import os
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Final

from tasks.extract.folder import folder_of

LONGEST_NAME: Final = 255  # bytes, of most file systems
_PIECE: Final = 12  # of the hash


def move(inbox: Path, name: str, sha256: str, archive: Path) -> str:
    """Rename a file into the archive; its name there. Raises OSError."""
    archive.mkdir(parents=True, exist_ok=True)
    with folder_of(inbox, name) as source, folder_of(archive, name, create=True) as target:
        base = PurePosixPath(name).name
        free = _free(target, base, sha256)
        os.rename(base, free, src_dir_fd=source, dst_dir_fd=target)
    return str(PurePosixPath(name).with_name(free))


def bring_back(archive: Path, archived: str, inbox: Path, name: str, sha256: str) -> str:
    """Rename a file of the archive back into the folder, to be read again; its name there. Raises OSError."""
    with folder_of(archive, archived) as source, folder_of(inbox, name, create=True) as target:
        free = _free(target, PurePosixPath(name).name, sha256)
        os.rename(PurePosixPath(archived).name, free, src_dir_fd=source, dst_dir_fd=target)
    return str(PurePosixPath(name).with_name(free))


def _free(folder: int, name: str, sha256: str) -> str:
    """The name itself, else with a piece of the hash, else with a number too."""
    piece = f".{sha256[:_PIECE]}"
    for end in chain(["", piece], (f"{piece}.{number}" for number in count(2))):
        wanted = with_piece(name, end)
        try:
            os.stat(wanted, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return wanted
    raise AssertionError  # there is always another number


def with_piece(name: str, piece: str) -> str:
    """A name with a piece before its extension; its stem is cut where all of it would be too long."""
    suffix = PurePosixPath(name).suffix
    stem, end = name.removesuffix(suffix), piece + suffix
    room = LONGEST_NAME - len(os.fsencode(end))
    if len(os.fsencode(stem)) > room:
        stem = os.fsencode(stem)[:room].decode("utf-8", "ignore")
    return stem + end
