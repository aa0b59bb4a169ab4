"""A folder of files: what lies in it, why some of that is not taken, and how a file is opened.

Nothing below the folder is followed that points elsewhere: not a symbolic link on the way to a file, nor in
its place, nor a hard link to a file of somebody else.
"""

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from tasks.extract.file_life import Mark

DEEPEST: Final = 64  # folders within folders

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us up


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in a folder; `name`: below it, as the system says it."""

    name: str
    mark: Mark | None = None
    why: str = ""  # it is not taken; empty: it is


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files of a folder are taken by their names."""

    pattern: str  # as Path.glob takes it
    endings: Collection[str] = ()  # in small letters, of which a name has one; none: it may end in anything


def shown(name: str) -> str:
    r"""A name as people read it; bytes that are no UTF-8 as `\xfc`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def mark_of(found: os.stat_result) -> Mark:
    return Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def look(inbox: Path, wanted: Wanted, archive: Path | None = None) -> Iterator[Entry]:
    """Everything that lies in the folder, but the archive. Raises OSError when the folder cannot be read."""
    inside = archive is not None and archive.is_relative_to(inbox)
    ours = archive.relative_to(inbox).as_posix() if archive is not None and inside else None
    root = os.open(inbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _look(root, "", wanted, ours)
    finally:
        os.close(root)


def _look(folder: int, above: str, wanted: Wanted, archive: str | None) -> Iterator[Entry]:
    owner = os.fstat(folder).st_uid
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    for base in names:
        name = above + base
        if name == archive:
            continue
        with suppress(FileNotFoundError):  # gone meanwhile
            found = os.stat(base, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) and not base.startswith("."):
                yield from _look_into(folder, base, name, wanted, archive)
            else:
                why = _why_not(name, found, owner, wanted)
                yield Entry(name, mark_of(found), why)


def _look_into(folder: int, base: str, name: str, wanted: Wanted, archive: str | None) -> Iterator[Entry]:
    if name.count("/") >= DEEPEST:
        yield Entry(name, why=f"it lies more than {DEEPEST} folders deep")
        return
    try:
        inner = os.open(base, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Entry(name, why=_said(error))
        return
    try:
        yield from _look(inner, f"{name}/", wanted, archive)
    finally:
        os.close(inner)


def _why_not(name: str, found: os.stat_result, owner: int, wanted: Wanted) -> str:
    if PurePosixPath(name).name.startswith("."):
        return "its name begins with a dot, as of one that is still written"
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link, and none is followed"
    if wanted.endings and PurePosixPath(name).suffix.lower() not in wanted.endings:
        return f"its name ends in none of {', '.join(wanted.endings)}"
    if not fits(name, wanted.pattern.split("/")):
        return f"its name does not fit {wanted.pattern}"
    return why_not_read(found, owner)


def why_not_read(found: os.stat_result, owner: int) -> str:
    """Why a file of a folder of that owner is never read, whatever its name."""
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_nlink > 1 and found.st_uid != owner:
        return "it is a hard link to a file of another owner than the folder's"
    return ""


def fits(name: str, pattern: Sequence[str]) -> bool:
    """Whether a name fits a pattern, as Path.glob takes it; the case of its extension does not count."""
    return _fits(_with_small_end(name).split("/"), [_with_small_end(step) for step in pattern])


def _fits(name: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern or not name:
        return not name and all(step == "**" for step in pattern)
    if pattern[0] == "**":
        return _fits(name, pattern[1:]) or _fits(name[1:], pattern)
    return fnmatchcase(name[0], pattern[0]) and _fits(name[1:], pattern[1:])


def _with_small_end(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) + suffix.lower()


@contextmanager
def folder_of(root: Path, name: str, *, create: bool = False) -> Iterator[int]:
    """The open folder that holds the file of that name below a root, no step of it a symbolic link."""
    held = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in PurePosixPath(name).parent.parts:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(step, dir_fd=held)
            inner = os.open(step, _FOLDER, dir_fd=held)
            os.close(held)
            held = inner
        yield held
    finally:
        os.close(held)


def open_file(root: Path, name: str) -> BinaryIO:
    """A regular file below a root, open to be read; raises OSError, PermissionError where it is not ours."""
    with folder_of(root, name) as folder:
        descriptor = os.open(PurePosixPath(name).name, _FILE, dir_fd=folder)
        file = os.fdopen(descriptor, "rb")
        if why := why_not_read(os.fstat(descriptor), os.fstat(folder).st_uid):
            file.close()
            raise PermissionError(why)
    return file


def mark_at(root: Path, name: str) -> Mark | None:
    """What stands under a name now."""
    try:
        with folder_of(root, name) as folder:
            return mark_of(os.stat(PurePosixPath(name).name, dir_fd=folder, follow_symlinks=False))
    except OSError:
        return None


def _said(error: OSError) -> str:
    return error.strerror or str(error)
