"""Anchors: hashes of seals kept in a file outside Postgres, one JSON object per line.

    {"store": …, "seal": …, "hash": …, "at": …}

Whoever can change Postgres cannot make the record say something else about the past than this file does.
Copy it somewhere else as well: the further away, the more it is worth.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lineage.errors import SettingsError
from lineage.seal import Anchor


def append(path: Path, store: str, anchor: Anchor) -> None:
    """Add an anchor, and have it on the disk; raises SettingsError when the file cannot be written."""
    line = {
        "store": store,
        "seal": anchor.seal,
        "hash": anchor.hash.hex(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SettingsError(f"HEADWATER_ANCHOR_FILE cannot be written: {error}.") from error


def read(path: Path, store: str) -> tuple[Anchor, ...]:
    """The anchors of a store; a line that cannot be read is an error, for somebody changed it."""
    if not path.exists():
        return ()
    try:
        return tuple(_anchors(path, store))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"HEADWATER_ANCHOR_FILE ({path}) holds a line that is no anchor: {error}."
        ) from error


def _anchors(path: Path, store: str) -> Iterator[Anchor]:
    for line in path.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        if found["store"] == store:
            yield Anchor(seal=int(found["seal"]), hash=bytes.fromhex(found["hash"]))
