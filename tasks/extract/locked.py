"""A file that one listener alone has open."""

import fcntl
from pathlib import Path
from typing import BinaryIO

from tasks.extract.folder import open_file


class LockedError(Exception):
    """Another listener reads the file."""


def open_locked(root: Path, name: str) -> BinaryIO:
    """A regular file below a root, open to be read; raises OSError, LockedError while another one has it."""
    file = open_file(root, name)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise LockedError from error
    except BaseException:
        file.close()
        raise
    return file
