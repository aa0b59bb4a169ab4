"""Anchors: hashes of seals kept in a file outside Postgres, one JSON object per line.

    {"store": …, "seal": …, "hash": …, "at": …}
    {"store": …, "seal": …, "hash": …, "proved": true, "at": …}    up to it a proof found no difference

Whoever can change Postgres cannot make the record say something else about the past than this file does.
Copy it somewhere else as well: the further away, the more it is worth.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from lineage.errors import SettingsError
from lineage.seal import Anchor, Stranger

TAIL: Final = 4096
"""Bytes of the file's end that are looked at before a line is added: a score of lines."""


def append(path: Path, store: str, anchor: Anchor) -> None:
    """Add an anchor that is not among the last ones, and have it on the disk.

    Raises SettingsError when the file cannot be written.
    """
    said: dict[str, object] = {"store": store, "seal": anchor.seal, "hash": anchor.hash.hex()}
    if anchor.proved:
        said["proved"] = True
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if not _is_among_the_last(file, said):
                file.write(f"{json.dumps(said | {'at': at})}\n".encode())
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise SettingsError(f"HEADWATER_ANCHOR_FILE cannot be written: {error}.") from error


def _is_among_the_last(file: BinaryIO, said: Mapping[str, object]) -> bool:
    """Whether a line of the file's end says so; whatever its other lines are, `read` judges them."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
    begin = f"{json.dumps(said).removesuffix('}')}, ".encode()
    return any(line.startswith(begin) for line in file.read().splitlines())


def read(path: Path, store: str) -> tuple[Anchor, ...]:
    """The anchors of a store; a line that cannot be read is an error, for somebody changed it."""
    return tuple(anchor for whose, anchor, _ in _lines(path) if whose == store)


def strangers(path: Path, store: str) -> tuple[Stranger, ...]:
    """The anchors of other stores in the file, in the order in which they were kept."""
    found, before = [], True
    for whose, anchor, at in _lines(path):
        before = before and whose != store
        if whose != store:
            found.append(Stranger(store=whose, anchor=anchor, at=at, before=before))
    return tuple(found)


def _lines(path: Path) -> list[tuple[str, Anchor, datetime]]:
    if not path.exists():
        return []
    try:
        return [_line(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"HEADWATER_ANCHOR_FILE ({path}) holds a line that is no anchor: {error}."
        ) from error


def _line(found: Mapping[str, Any]) -> tuple[str, Anchor, datetime]:
    anchor = Anchor(
        seal=int(found["seal"]), hash=bytes.fromhex(found["hash"]), proved=found.get("proved") is True
    )
    return str(found["store"]), anchor, datetime.fromisoformat(found["at"])
