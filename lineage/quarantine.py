"""Rows that were taken out of what people query, against the acts that did it.

    act (who, why) ─ store.quarantine (key, batch, released) ─▶ quarantine#ACT in the log, with their digest

`NAME_quarantine` holds the keys that the published view leaves out: those whose newest act took them out.
"""

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import polars as pl

from . import naming
from .books import Books
from .identifiers import column_of, literal, stored_table
from .model import batch_node, micros
from .ports import Connection
from .stored import TableShape, chunks

URI = naming.postgres("quarantine")
WAYS = ("quarantine", "release")
"""What the ledger's `way` says of an act that takes rows out, or puts them back."""

_ACT = "SELECT kind, selection, reason, by_whom, run_id, at FROM store.recalls WHERE act = $1"
_ROWS = """
SELECT key, table_name, batch, released FROM store.quarantine WHERE act = $1 ORDER BY key COLLATE "C"
"""
_SAID = """
SELECT DISTINCT batch, target_facts->>'digest' AS digest FROM store.lineage_log
WHERE batch >= $1 AND batch < $2 AND relationship_type = 'FEEDS' AND target_key = $3 || batch
"""
_ACTS = """
SELECT act, 'rows' AS what FROM store.quarantine WHERE act >= $1 AND act < $2
UNION SELECT act, 'a reason' FROM store.recalls WHERE act >= $1 AND act < $2 AND kind = ANY($3) ORDER BY 1, 2
"""
_UNLIKE = """
SELECT coalesce(stands.key, said.key) AS key, stands.act AS stands, said.act AS said
FROM (SELECT {key} AS key, s.act FROM {stands} s) stands
FULL JOIN (
    SELECT * FROM (
        SELECT DISTINCT ON (key) key, act, released FROM store.quarantine
        WHERE table_name = {table} ORDER BY key, act DESC
    ) newest WHERE NOT released
) said USING (key)
WHERE stands.act IS DISTINCT FROM said.act ORDER BY 1
"""


async def digest_of(connection: Connection, act: int) -> str:
    """SHA-256 of who did it and why, and of its rows; `connection` must be in a transaction."""
    who = await connection.fetchrow(_ACT, act)
    total = hashlib.sha256(_line(*who[:5], micros(who["at"])) if who else b"")
    async for rows in chunks(connection, _ROWS, act):
        for row in rows:
            total.update(_line(*row))
    return total.hexdigest()


def _line(*values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False, default=str).encode() + b"\n"


async def check_acts(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """Who, why and which rows: of every act that took rows out or put them back."""
    uri = batch_node(URI, 0).key.removesuffix("0")
    said = {row["batch"]: row["digest"] for row in await connection.fetch(_SAID, first, end, uri)}
    acts = {number for number, row in books.ledger.items() if row["way"] in WAYS}
    for number in sorted(acts):
        if said.get(number) != await digest_of(connection, number):
            yield f"quarantine, batch {number}: who did it, why or with which rows is not what was recorded"
    for row in await connection.fetch(_ACTS, first, end, WAYS):
        if row["act"] not in acts:
            yield f"quarantine: {row['what']} of batch {row['act']}, which is no such act in the ledger"


async def check_standing(connection: Connection, shape: TableShape) -> AsyncIterator[str]:
    """The keys a view leaves out against the newest act of each key."""
    query = _UNLIKE.format(
        key=key_text(shape), stands=stored_table(f"{shape.name}_quarantine"), table=literal(shape.name)
    )
    async for rows in chunks(connection, query):
        for row in rows:
            stands, said = (f"act {row[each]}" if row[each] else "no act" for each in ("stands", "said"))
            yield f"{shape.name}_quarantine: {row['key']} is out by {stands}, and by {said} in the record"


def key_text(shape: TableShape) -> str:
    """The SQL expression of the natural key of row `s` as canonical JSON."""
    parts = [f"{literal(json.dumps(name) + ':')} || {_value_text(shape, name)}" for name in sorted(shape.key)]
    return "'{' || " + " || ',' || ".join(parts) + " || '}'"


def _value_text(shape: TableShape, name: str) -> str:
    if isinstance(shape.columns[name], pl.Datetime):
        return (
            f"""to_char({column_of("s", name)} AT TIME ZONE 'UTC', '"\\""YYYY-MM-DD"T"HH24:MI:SS.US"Z\\""')"""
        )
    return f"to_json({column_of('s', name)})::text"
