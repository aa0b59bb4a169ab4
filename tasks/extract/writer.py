"""Whether a file may still be written: somebody has it open, or it does not end as a finished one does."""

import fcntl
import os
import signal
from typing import BinaryIO, Final

from tasks.extract.file_life import Ending
from tasks.extract.formats.format import FileFormat, TextFormat

_LINE_ENDS: Final = (b"\n", b"\r")
_HEAD: Final = 64 * 1024  # bytes; a longer file has more than a header
_FOOTER: Final = b"PAR1"


def ending_of(file: BinaryIO, file_format: FileFormat) -> Ending:
    """What an open file tells about its writer."""
    return Ending(whole=_is_whole(file.fileno(), file_format), written=_is_written(file.fileno()))


def _is_whole(descriptor: int, file_format: FileFormat) -> bool:
    size = os.fstat(descriptor).st_size
    if isinstance(file_format, TextFormat):
        tail = os.pread(descriptor, 4, max(0, size - 4)).rstrip(b"\0")  # of UTF-16 too
        waits = _is_header_alone(descriptor, size, file_format.layout().lines_before)
        return tail.endswith(_LINE_ENDS) and not waits
    tail = os.pread(descriptor, 8, max(0, size - 8))
    return tail.endswith(_FOOTER) and 8 < int.from_bytes(tail[:4], "little") + 12 <= size


def _is_header_alone(descriptor: int, size: int, lines_before: int) -> bool:
    """Whether a file has no line behind its header: a logger's, that waits for its first reading."""
    return size <= _HEAD and len(os.pread(descriptor, size, 0).splitlines()) <= lines_before


def _is_written(descriptor: int) -> bool | None:
    """Whether any process of this machine has it open for writing; None: the system does not tell us.

    A lease to read is refused while somebody may write. It is given back at once; who opens the file in that
    moment waits as long, and the signal that tells us so is one that is ignored.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # a file of another user, or a file system without leases
        return None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
