"""Bad files among good ones.

Each that is read is one rejected record, the others are told, and all good ones are stored.
"""

import os
from collections.abc import Mapping
from functools import partial

from tests.chaos.folder import Folder
from tests.chaos.ground import Fault, Ground
from tests.chaos.readings import HEADER, Format

BYTES = 2_000
FOREIGN = b"zone;watts;volts\nA;1;2\nB;3;4\n"  # names that nearly fit no column, nor are any


def of_poison(ground: Ground) -> list[Fault]:
    if ground.folder is None:
        return []
    return [Fault("poison among good files", 2, partial(poison, ground, ground.folder))]


def poison(ground: Ground, folder: Folder) -> bool:
    """One of each kind, and a good file whose name is no UTF-8."""
    numbers = folder.claim(Format.CSV)
    good = folder.content(numbers)
    bad = _bad(ground, numbers[0])
    for ending, content in bad.items():
        name = f"poison-{numbers[0]}-{ending}"
        folder.poison.add(name)
        folder.drop(name, content)
    link = f"poison-{numbers[0]}-link.csv"
    outside = folder.inbox.parent / link
    outside.write_bytes(f"{HEADER}\nx1,2026-01-01T00:00:00Z,1.5,1\n".encode())
    folder.untaken.add(link)
    (folder.inbox / link).symlink_to(outside)
    folder.drop(os.fsdecode(b"k\xfchl-%d.csv" % numbers[0]), good)
    folder.acknowledge(numbers)
    ground.did["poisoned files"] += len(bad) + 1
    return True


def _bad(ground: Ground, number: int) -> Mapping[str, bytes]:
    """By the ends of their names; no two have the same bytes."""
    noise = ground.chance.randbytes(BYTES)
    of_number = str(number).encode()
    return {
        "binary.csv": b"\x89BIN\x00" + noise + b"\n",
        "utf16.csv": f"{HEADER}\nx1,2026-01-01T00:00:00Z,1.5,{number}\n".encode("utf-16"),
        "foreign.csv": FOREIGN + of_number + b";5;6\n",
        "garbage.parquet": b"PAR1" + noise + (BYTES // 2).to_bytes(4, "little") + b"PAR1",
    }
