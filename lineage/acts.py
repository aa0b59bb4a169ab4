"""What people do to what is stored: who, why and with what, as the log's entry of an act says it.

An act is a row of the ledger; the node that its entry names carries a digest of what is kept of it elsewhere:

    quarantine#ACT, drops#ACT, recalls#ACT ── store.recalls, store.quarantine
    erasures#ACT ── store.erasures          NAME_history#BATCH ── the rows a reprocess moved there
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from . import naming
from .digest import row_hashes, sum_of
from .identifiers import stored_table
from .model import micros
from .ports import Connection
from .stored import chunks

QUARANTINE = naming.postgres("quarantine")
DROPS = naming.postgres("drops")
RECALLS = naming.postgres("recalls")
ERASURES = naming.postgres("erasures")
REPROCESS = "reprocess"
"""What the ledger's `way` says of a raw batch that was made again."""
RECALL = "recall"
"""What it says of the act that asked for it."""
NODES: Mapping[str, str] = {
    "quarantine": QUARANTINE,
    "release": QUARANTINE,
    "drop": DROPS,
    RECALL: RECALLS,
    "erase": ERASURES,
}
"""Way → of which dataset the node is that carries the digest."""

_ACT = "SELECT kind, selection, reason, by_whom, run_id, at FROM store.recalls WHERE act = $1"
_ROWS = """
SELECT key, table_name, batch, released FROM store.quarantine WHERE act = $1 ORDER BY key COLLATE "C"
"""
_ERASED = """
SELECT batch, sequence, reason, by_whom, erased_at FROM store.erasures WHERE act = $1 ORDER BY batch, sequence
"""
# What is moved by a reprocess was made from the same raw batch before; what comes late has a higher number.
_MOVED = """
SELECT batch, sequence, part FROM {history}
WHERE replaced_by = $1 AND batch < $1 AND coalesce(raw_batch, batch) = $2
"""
_MOVED_SCHEMA = {"batch": pl.Int64(), "sequence": pl.Int32(), "part": pl.Int32()}


class Moved(NamedTuple):
    """Rows that an act moved to a table's history: how many, and a digest of which, 16 hex digits."""

    rows: int
    digest: str


async def digest_of(connection: Connection, act: int) -> str:
    """SHA-256 of who did it and why, and of its rows; `connection` must be in a transaction."""
    who = await connection.fetchrow(_ACT, act)
    total = hashlib.sha256(_line(*who[:5], micros(who["at"])) if who else b"")
    async for rows in chunks(connection, _ROWS, act):
        for row in rows:
            total.update(_line(*row))
    return total.hexdigest()


async def digest_of_erasure(connection: Connection, act: int) -> str:
    """SHA-256 of which messages were erased, by whom, why and when; `connection` must be in a transaction."""
    total = hashlib.sha256()
    async for rows in chunks(connection, _ERASED, act):
        for row in rows:
            total.update(_line(*row[:4], micros(row["erased_at"])))
    return total.hexdigest()


async def moved(connection: Connection, table: str, number: int, raw_batch: int) -> Moved:
    """What the reprocess `number` of a raw batch moved; `connection` must be in a transaction."""
    rows, total = 0, 0
    async for some in chunks(
        connection, _MOVED.format(history=stored_table(f"{table}_history")), number, raw_batch
    ):
        frame = pl.DataFrame([tuple(row) for row in some], schema=_MOVED_SCHEMA, orient="row")
        rows, total = rows + frame.height, total + sum_of(row_hashes(frame, list(_MOVED_SCHEMA)))
    return Moved(rows, f"{total % (1 << 64):016x}")


def history(table: str) -> str:
    """The dataset of a table's history."""
    return naming.postgres(f"{table}_history")


def _line(*values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False, default=str).encode() + b"\n"
