"""Files that are written as they should not be: edited while they are read, or written with long pauses."""

import os
import time
from functools import partial
from pathlib import Path

from tests.chaos.entry import OF_A_FILE
from tests.chaos.folder import Folder
from tests.chaos.ground import Fault, Ground, comes
from tests.chaos.process import Entry
from tests.chaos.readings import Format
from tests.chaos.ways import FILES

PAUSE = 2.5  # seconds, longer than `settle` and shorter than `unfinished`
TEXT = (Format.CSV, Format.JSON)  # whose sizes stay when a record becomes another one


def of_uploads(ground: Ground) -> list[Fault]:
    if ground.folder is None:
        return []
    (entry,) = ground.rig.ours.listeners[FILES]
    return [
        Fault("file edited while read", 3, partial(edited, ground, ground.folder, entry)),
        Fault("stalled upload", 1, partial(stalled, ground, ground.folder)),
        Fault("appended upload", 1, partial(appended, ground, ground.folder)),
    ]


def edited(ground: Ground, folder: Folder, entry: Entry) -> bool:
    """A file becomes another one of the same size and time while the listener waits at a moment."""
    ground.wait_for(entry)
    moment = ground.chance.choice(["dropped", *OF_A_FILE])
    numbers = folder.claim(*TEXT)
    name, content = folder.name_of(numbers), folder.content(numbers)
    draft = folder.draft(numbers)
    folder.may_be(draft)
    if moment != "dropped":
        entry.arm(f"{moment} {name}")
    (folder.inbox / f".{name}").write_bytes(draft)
    (folder.inbox / f".{name}").rename(folder.inbox / name)
    reached = moment == "dropped" or comes(lambda: entry.held)
    in_place = _edit(folder.inbox / name, content)
    entry.disarm()
    entry.release()
    if in_place:
        folder.finish_as(content)
    else:  # it was archived before its moment came: what it should have become is another file
        folder.drop(f"late-{name}", content)
    folder.acknowledge(numbers)
    ground.did[f"file edited when {moment}"] += reached
    return reached


def _edit(path: Path, content: bytes) -> bool:
    """Write over it, and give it back its time; whether it lies there still."""
    try:
        with path.open("r+b") as file:
            before = os.fstat(file.fileno())
            file.write(content)
            file.flush()
            os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
    except FileNotFoundError:
        return False
    return path.exists()


def stalled(ground: Ground, folder: Folder) -> bool:
    """Half of a file, a long pause, and the rest: kept open, or closed within a line and opened anew."""
    numbers = folder.claim(*TEXT)
    path, content = folder.inbox / folder.name_of(numbers), folder.content(numbers)
    folder.finish_as(content)
    half = _middle_of_a_line(content)
    keeps_open = ground.chance.random() < 0.5
    with path.open("wb") as file:
        file.write(content[:half])
        file.flush()
        if keeps_open:
            time.sleep(PAUSE)
            file.write(content[half:])
    if not keeps_open:
        time.sleep(PAUSE)
        _append(path, content[half:])
    folder.acknowledge(numbers)
    ground.did["upload stalled " + ("open" if keeps_open else "closed")] += 1
    return True


def appended(ground: Ground, folder: Folder) -> bool:
    """Whole lines, a long pause, and more lines, which is a file of its own if the first were archived."""
    numbers = folder.claim(Format.JSON)
    path, content = folder.inbox / folder.name_of(numbers), folder.content(numbers)
    half = content.index(b"\n", len(content) // 2) + 1
    whole, *halves = (folder.may_be(each) for each in (content, content[:half], content[half:]))
    folder.in_two.append((whole, *halves))
    path.write_bytes(content[:half])
    time.sleep(PAUSE)
    _append(path, content[half:])
    folder.acknowledge(numbers)
    ground.did["upload appended"] += 1
    return True


def _middle_of_a_line(content: bytes) -> int:
    return content.index(b"\n", len(content) // 2) + 5


def _append(path: Path, rest: bytes) -> None:
    with path.open("ab") as file:
        file.write(rest)
