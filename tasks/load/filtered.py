"""Filtered records as they are stored: known again when they come back, and filtered then too.

refined ─▶ store.filtered (identity, where it stands) ─▶ filtered#BATCH in the log, with a digest
"""

import asyncio
from dataclasses import replace

import polars as pl

from infra.postgres import Connection
from lineage import query_files
from lineage.filtered import SCHEMA, Told, told
from tasks.batch import Refined
from tasks.canonical import canonical_key
from tasks.load.plan import Commit
from tasks.load.rejected import identities, rejected_among
from tasks.load.row_id import ROW, without
from tasks.load.settle import stored_alike

_ANY = "SELECT EXISTS (SELECT FROM store.ledger WHERE dataset = $1 AND filtered > 0)"
_KNOWN = "SELECT identity FROM store.filtered WHERE identity = ANY($1::bytea[])"
# Each record once, and by the first batch that filtered it; in the order of the index against deadlocks.
_INSERT = query_files.read(__package__, "insert_filtered.sql")


async def insert_filtered(commit: Commit, rows: pl.DataFrame) -> Told | None:
    """Keep which records (`sequence` and `part`, n) are filtered; None: all of them are known."""
    if rows.is_empty():
        return None
    ids = await asyncio.to_thread(identities, commit, rows)
    places = (rows[name].to_list() for name in ROW)
    kept = await commit.connection.fetch(_INSERT, commit.number, commit.raw_batch, ids.to_list(), *places)
    return told(pl.DataFrame([tuple(row) for row in kept], schema=SCHEMA, orient="row")) if kept else None


async def filtered_among(connection: Connection, ids: pl.Series) -> pl.Series:
    """Those of these identities (Binary, n) that were ever filtered."""
    rows = await connection.fetch(_KNOWN, ids.to_list())
    return pl.Series([row["identity"] for row in rows], dtype=pl.Binary)


async def filtered_before(commit: Commit, rows: pl.DataFrame) -> pl.DataFrame:
    """Those of these rows (with `sequence` and `part`, n) whose records were ever filtered."""
    if rows.is_empty() or not await commit.connection.fetchval(_ANY, commit.batch.dataset):
        return rows.clear()
    ids = await asyncio.to_thread(identities, commit, rows)
    known = await filtered_among(commit.connection, ids.unique())
    return rows.filter(ids.is_in(known.implode()))


async def without_filtered_before(commit: Commit, refined: Refined) -> Refined:
    """Records that were filtered in an earlier batch are filtered, whatever they are worth today.

    And the other way: what is filtered today and was stored or rejected before is a duplicate.
    """
    accepted, left_out = dict(refined.accepted), 0
    for table, rows in refined.accepted.items():
        again = await _not_stored(commit, table, await filtered_before(commit, rows))
        accepted[table] = without(rows, again)
        left_out += again.height
    again = await filtered_before(commit, refined.rejected)
    again = again.filter(~await _rejected(commit, again))
    duplicates = await _otherwise_before(commit, refined.filtered_rows)
    return replace(
        refined,
        accepted=accepted,
        rejected=without(refined.rejected, again),
        duplicates=refined.duplicates + duplicates.height,
        filtered=refined.filtered + left_out + again.height - duplicates.height,
        filtered_rows=without(refined.filtered_rows, duplicates),
    )


async def _not_stored(commit: Commit, table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Those of these accepted rows (n) that say what no stored row says."""
    asked = rows.select(*ROW, "input_hash").with_columns(canonical_key(rows, commit.plan.contracts[table]))
    return without(rows, await _stored(commit, table, asked))


async def _stored(commit: Commit, table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Those of these rows (with `key` and `input_hash`, n) that say what a stored row says."""
    asked = rows.filter(pl.all_horizontal(pl.col("key", "input_hash").is_not_null())).with_row_index("row")
    if asked.is_empty():
        return asked
    alike = await stored_alike(commit, commit.plan.contracts[table], asked, table)
    return asked.filter(pl.col("row").is_in(alike))


async def _rejected(commit: Commit, rows: pl.DataFrame) -> pl.Series:
    """Whether each of these rows (Boolean, n) is of a record that was ever rejected."""
    if rows.is_empty():
        return pl.Series(dtype=pl.Boolean)
    ids = await asyncio.to_thread(identities, commit, rows)
    return ids.is_in((await rejected_among(commit.connection, ids.unique())).implode())


async def _otherwise_before(commit: Commit, filtered: pl.DataFrame) -> pl.DataFrame:
    """Those of today's filtered rows (FILTERED_SCHEMA, n) that were stored or rejected, not filtered."""
    new = without(filtered, await filtered_before(commit, filtered))
    refused = await _rejected(commit, new)
    stored = [new.filter(refused).select(ROW)]
    for (table,), rows in new.filter(~refused).group_by("table"):
        stored.append((await _stored(commit, str(table), rows)).select(ROW))
    return pl.concat(stored)
