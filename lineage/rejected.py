"""Rejected records against the ledger: how many each batch rejected, and what it and replays said of them.

A record's row changes when a replay rejects it again, so the replay keeps the hash of what stood before: the
sum over a batch's verdicts can be computed again at any time.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import polars as pl

from . import query_files
from .digest import row_hashes, signed, sum_of
from .keyed_hash import keyed_hashes
from .keys import Key, KeyRing
from .ports import Connection
from .row_digest import VERSION
from .stored import chunks

_TIME = pl.Datetime("us", "UTC")
RECORD: Mapping[str, pl.DataType] = {
    "identity": pl.String(),
    "batch": pl.Int64(),
    "raw_batch": pl.Int64(),
    "sequence": pl.Int32(),
    "part": pl.Int32(),
    "dataset": pl.String(),
    "location": pl.String(),
    "stage": pl.String(),
    "rules": pl.String(),
    "error_type": pl.String(),
    "message": pl.String(),
    "table_name": pl.String(),
    "key": pl.String(),
    "input_hash": pl.Int64(),
    "contract": pl.Int32(),
    "rejected_at": _TIME,
}
"""What a rejected record's hash covers; `attempts` and `resolved_by` follow from its replays, `may_pass` from
its rules."""
VERDICT: Mapping[str, pl.DataType] = {
    "identity": pl.String(),
    "batch": pl.Int64(),
    "verdict": pl.String(),
    "rules_before": pl.String(),
    "rules": pl.String(),
    "before": pl.Int64(),
}

Made: TypeAlias = tuple[int | None, str | None]
"""How a commit's digests are made: the version, None: the first, and the name of the key, None: no key."""

JUDGED_LAST = query_files.read(__package__, "judged_last.sql")
"""The records of these identities, each with how the commit that judged it last made its digests."""

_RULE = pl.element()
_PASSING_RULE = _RULE.str.ends_with(".furthest") | _RULE.is_in(["load.refused", "transform.failed"])
MAY_PASS = pl.col("rules").list.eval(_PASSING_RULE).list.any().alias("may_pass")
"""Whether a record rejected by these `rules` (List of String) may pass if it comes again, bytes the same."""

_RULES = ("rules", "rules_before")

# The records each batch rejected, first or again, as they stand; `before`: their hash before a later replay.
_JUDGED = query_files.read(__package__, "judged_between.sql")
_VERDICTS = "SELECT * FROM store.replays WHERE batch >= $1 AND batch < $2"


async def rejected_sum_of(connection: Connection, number: int, keys: KeyRing) -> int:
    """The sum of a commit's verdicts before it is in the ledger.

    They are of the records that it rejected, as it leaves them, and of its replays.
    """
    said = await judged(connection, number, number + 1, lambda _: (VERSION, keys.name), keys)
    return said.sums.get(number, 0)


def record_hashes(rows: Sequence[Any], keys: KeyRing) -> list[int]:
    """The hashes of rows of `store.rejected`, each as the commit that judged it last made it (`JUDGED_LAST`).

    Raises SettingsError where this host lacks a key.
    """
    made = [(row["digest_version"], row["digest_key"]) for row in rows]
    return _hashes(rows, RECORD, made, keys)


def sum_of_new(records: pl.DataFrame, key: Key | None) -> int:
    """The sum of the verdicts of records that are to be stored (the columns of RECORD as stored, n)."""
    identity = records["identity"].bin.encode("hex")
    rules = pl.Series("rules", _plain("rules", records["rules"].to_list()), pl.String)
    return sum_of(keyed_hashes(records.with_columns(identity, rules), list(RECORD), key))


@dataclass(slots=True)
class Judged:
    """Batch → how many records it rejected, the sum of its verdicts, and why that cannot be made here."""

    rows: Counter[int] = field(default_factory=Counter)
    sums: dict[int, int] = field(default_factory=dict)
    lacking: dict[int, str] = field(default_factory=dict)

    def add(self, batch: int, value: int) -> None:
        self.sums[batch] = signed(self.sums.get(batch, 0) + value)


async def judged(
    connection: Connection, first: int, end: int, made: Callable[[int], Made], keys: KeyRing
) -> Judged:
    """What batches said; `made`: batch → how its hashes are made."""
    found = Judged()

    def readable(batch: int) -> bool:
        if why := _cannot_be_made(made(batch), keys):
            found.lacking[batch] = why
        return not why

    async for records in chunks(connection, _JUDGED, first, end):
        found.rows.update(record["judged_by"] for record in records)
        known = [record for record in records if readable(record["judged_by"])]
        hashes = _hashes(known, RECORD, [made(record["judged_by"]) for record in known], keys)
        for record, now in zip(known, hashes, strict=True):
            found.add(record["judged_by"], now if record["before"] is None else record["before"])
    async for verdicts in chunks(connection, _VERDICTS, first, end):
        known = [verdict for verdict in verdicts if readable(verdict["batch"])]
        hashes = _hashes(known, VERDICT, [made(verdict["batch"]) for verdict in known], keys)
        for verdict, now in zip(known, hashes, strict=True):
            found.add(verdict["batch"], now)
    return found


def _cannot_be_made(made: Made, keys: KeyRing) -> str:
    version, key = made
    if version not in (None, VERSION):
        return f"its digests are of version {version}, which this code does not know"
    if not keys.holds(key):
        return f"its digests need the key {key}, which HEADWATER_KEY_FILE does not hold"
    return ""


def _hashes(
    rows: Sequence[Any], columns: Mapping[str, pl.DataType], made: Sequence[Made], keys: KeyRing
) -> list[int]:
    """The hash of each row, made as `made` says of it."""
    frame = pl.DataFrame(
        {name: pl.Series(_plain(name, [row[name] for row in rows]), dtype=columns[name]) for name in columns}
    )
    if len(set(made)) == 1:
        return _hashed(frame, made[0], keys)
    hashes = [0] * len(rows)
    for each in set(made):
        at = [place for place, one in enumerate(made) if one == each]
        for place, value in zip(at, _hashed(frame[at], each, keys), strict=True):
            hashes[place] = value
    return hashes


def _hashed(frame: pl.DataFrame, made: Made, keys: KeyRing) -> list[int]:
    version, key = made
    if version is None:
        return row_hashes(frame, frame.columns).to_list()
    return keyed_hashes(frame, frame.columns, keys.named(key)).to_list()


def _plain(name: str, values: list[Any]) -> list[Any]:
    """Values of a column as they are hashed: bytes in hexadecimal, rules as JSON."""
    if name == "identity":
        return [value.hex() for value in values]
    if name in _RULES:
        return [None if value is None else _rules_text(tuple(value)) for value in values]
    return values


@lru_cache(maxsize=1_000)
def _rules_text(rules: tuple[str, ...]) -> str:
    return json.dumps(rules)
