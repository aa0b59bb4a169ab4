"""Anchors: hashes of seals kept in a file outside Postgres, one JSON object per line.

    {"store": …, "seal": …, "hash": …, "at": …}
    {"store": …, "seal": …, "hash": …, "proved": true, "at": …}    up to it a proof found no difference
    {"store": …, "seal": …, "hash": …, "restored": {"kept": …, "lost": …, "act": …, "reason": …, "by": …}, …}

The last kind accepts that a backup was restored: the lines before it of seals after `kept` stay in the file,
and no seal is compared with them any more. Whoever can change Postgres cannot make the record say something
else about the past than this file does. Copy it somewhere else too: the further away, the more it is worth.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from infra import private
from lineage.errors import SettingsError
from lineage.restores import Gap, Restore
from lineage.seal import Anchor, Stranger

Line: TypeAlias = Anchor | Restore

TAIL: Final = 4096
"""Bytes of the file's end that are looked at before a line is added: a score of lines."""


def append(path: Path, store: str, anchor: Anchor) -> None:
    """Add an anchor that is not among the last ones, and have it on the disk.

    Raises SettingsError when the file cannot be written.
    """
    said: dict[str, object] = {"store": store, "seal": anchor.seal, "hash": anchor.hash.hex()}
    if anchor.proved:
        said["proved"] = True
    _append(path, said, anchor.at)


def append_restore(path: Path, store: str, restore: Restore) -> None:
    """Add what a person accepted; as `append`."""
    gap = restore.gap
    said: dict[str, object] = {"store": store, "seal": restore.seal, "hash": restore.hash.hex()}
    said["restored"] = {
        "kept": gap.kept,
        "lost": gap.lost,
        "act": restore.act,
        "reason": restore.reason,
        "by": restore.by_whom,
    }
    _append(path, said, restore.at)


def _append(path: Path, said: Mapping[str, object], at: str) -> None:
    at = at or datetime.now(UTC).isoformat(timespec="seconds")
    try:
        private.make(path.parent)
        with path.open("a+b") as file:
            if not _is_among_the_last(file, said):
                file.write(f"{json.dumps({**said, 'at': at})}\n".encode())
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
    """The anchors of a store that hold; a line that cannot be read is an error, for somebody changed it."""
    holding: list[Anchor] = []
    for whose, line in _lines(path):
        if whose != store:
            continue
        if isinstance(line, Restore):
            holding = [anchor for anchor in holding if anchor.seal <= line.gap.kept]
            line = line.anchor
        holding.append(line)
    return tuple(holding)


def restores(path: Path, store: str) -> tuple[Restore, ...]:
    """Every restore of a store that was accepted, for ever; raises as `read`."""
    found: list[Restore] = []
    for whose, line in _lines(path):
        if whose == store and isinstance(line, Restore):
            found = [replace(each, undone=each.undone or each.seal > line.gap.kept) for each in found]
            found.append(line)
    return tuple(found)


def strangers(path: Path, store: str) -> tuple[Stranger, ...]:
    """The anchors of other stores in the file, in the order in which they were kept; raises as `read`."""
    found, before = [], True
    for whose, line in _lines(path):
        before = before and whose != store
        if whose != store:
            anchor = line.anchor if isinstance(line, Restore) else line
            at = datetime.fromisoformat(line.at)
            found.append(Stranger(store=whose, anchor=anchor, at=at, before=before))
    return tuple(found)


def _lines(path: Path) -> list[tuple[str, Line]]:
    """Whose line it is, and what it says."""
    if not path.exists():
        return []
    try:
        return [_line(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"HEADWATER_ANCHOR_FILE ({path}) holds a line that is no anchor: {error}."
        ) from error


def _line(found: Mapping[str, Any]) -> tuple[str, Line]:
    return str(found["store"]), _restore(found) if "restored" in found else _anchor(found)


def _anchor(found: Mapping[str, Any]) -> Anchor:
    return Anchor(
        seal=int(found["seal"]),
        hash=bytes.fromhex(found["hash"]),
        proved=found.get("proved") is True,
        at=str(found["at"]),
    )


def _restore(found: Mapping[str, Any]) -> Restore:
    said = found["restored"]
    return Restore(
        gap=Gap(kept=int(said["kept"]), lost=int(said["lost"])),
        seal=int(found["seal"]),
        hash=bytes.fromhex(found["hash"]),
        act=int(said["act"]),
        reason=str(said["reason"]),
        by_whom=str(said["by"]),
        at=str(found["at"]),
    )
