"""The staging way: what was stored or rejected before is told from what is new, row by row.

A verdict never flips. A row whose key is stored with the same input hash, or from the same bytes, is a
duplicate, even if today's contract reads more of it or would reject it. So is a record rejected before that
is delivered again, even if today's contract would take it; one that is sent anew is another message. A key
stored with another input hash is a conflict (`append`) or a revision (`revise`).

The fast way keeps this too: a stored key is a unique violation, each rejected row is looked for among the
stored ones, and where a record that may pass on a second try was rejected, accepted rows from the same
location are looked up (`rejected_before`).
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from infra.postgres import Row, copy_frame
from lineage.acts import Moved
from lineage.identifiers import listed, quoted, stored_table
from tasks.batch import Refined
from tasks.contract import Contract, OnReturn
from tasks.load.plan import Commit
from tasks.load.rejected import (
    Refusal,
    as_rejected,
    identities,
    insert_rejected,
    passing,
    rejected_among,
)
from tasks.load.revise import revise
from tasks.load.row_id import only, without
from tasks.load.standing import taken
from tasks.tables.tables import same_key

LOOKED_AT = 100
"""Rows of a batch that tell which way it takes."""

_IN_DATASET = "FROM store.rejected r WHERE r.dataset = $1"
# In the order of an index: else Postgres may hope to meet one soon, and read all of other datasets.
_ANYWHERE = f"SELECT true {_IN_DATASET} %s ORDER BY left(r.location, 500) LIMIT 1"
# Of these locations, those where something was rejected; only their beginning is indexed, and that is enough.
_AT_LOCATIONS = (
    f"SELECT location FROM unnest($2::text[]) AS location WHERE location IS NULL "
    f"OR EXISTS (SELECT {_IN_DATASET} AND left(r.location, 500) = left(location.location, 500) %s)"
)
# The message of a stored row `s`, but of a part of a file, and its digest, hexadecimal.
_STORED_MESSAGE = (
    "LEFT JOIN store.raw_batches b ON (s.part IS NULL OR b.layout IS NULL) "
    "AND b.batch = coalesce(s.raw_batch, s.batch)"
)
_STORED_DIGEST = "encode(substr(b.digests, s.sequence * 32 + 1, 32), 'hex')"
# Key by key: for some thousand rows Postgres may hold it to be cheaper to read the whole table.
_BY_KEY = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
CONFLICT = Refusal(
    rule="key.conflict",
    error_type="conflict",
    message="The key is stored with other values; the first one stands.",
)


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch whose rows are stored, with what was new, a duplicate or in conflict."""

    refined: Refined
    way: str
    digests: Mapping[str, bytes] | None = None  # table → the digest of its accepted rows, where it is known
    rejected_sum: int | None = None  # of the verdicts on what is rejected, where it is known
    moved: Mapping[str, Moved] = field(default_factory=dict)  # table → what a reprocess moved to its history


async def settle(commit: Commit, refined: Refined) -> Settled:
    """Compare a batch, rid of what was judged before, with what is stored; store what is new."""
    refined = await store_accepted(commit, refined)
    # Once more: our keys may have waited for a commit that stored what we reject as their rivals.
    refined = await without_stored_before(commit, refined)
    kept = await insert_rejected(commit, refined.rejected)
    raced = refined.rejected.height - kept.height
    refined = replace(refined, rejected=kept, duplicates=refined.duplicates + raced)
    return Settled(refined, "staging")


async def without_judged_before(commit: Commit, refined: Refined, rejected: str) -> Refined:
    """Records that were `rejected` before, or that are rejected now and stored, are duplicates."""
    return await without_stored_before(commit, await _without_rejected_before(commit, refined, rejected))


async def looks_stored(commit: Commit, refined: Refined) -> bool:
    """Whether any of a few rows is stored: then to copy the batch would most likely be in vain."""
    for table, rows in refined.accepted.items():
        some = rows.gather_every(max(1, rows.height // LOOKED_AT))
        if not (await taken(commit.connection, commit.plan.contracts[table], some)).is_empty():
            return True
    return False


async def store_accepted(commit: Commit, refined: Refined) -> Refined:
    """Store the accepted rows that are new; the others become duplicates, conflicts or revisions."""
    await commit.connection.execute(_BY_KEY)
    for table in sorted(refined.accepted):
        contract, rows = commit.plan.contracts[table], refined.accepted[table]
        if contract.on_return is OnReturn.REVISE:
            refined = _with_outcome(refined, contract, await revise(commit.connection, contract, rows))
        else:
            refined = _with_outcome(refined, contract, *await _append(commit, contract, rows))
    return refined


async def rejected_before(commit: Commit, refined: Refined) -> bool:
    """Whether an accepted row was rejected in an earlier batch, when it came too early or was refused."""
    may_pass = passing(commit.plan)
    suspect = await _suspect(commit, may_pass)
    if not suspect.any():
        return False
    for accepted in refined.accepted.values():
        asked = identities(commit, accepted.filter(suspect.gather(accepted["sequence"])))
        if not (await rejected_among(commit.connection, asked.unique(), may_pass)).is_empty():
            return True
    return False


async def _suspect(commit: Commit, rejected: str) -> pl.Series:
    """Whether each message (Boolean, n) comes from where something was `rejected` before.

    Records within a file have a location each: there the whole dataset is asked, and nothing more.
    """
    locations, dataset = commit.batch.messages["location"], commit.batch.dataset
    anywhere = bool(await commit.connection.fetchval(_ANYWHERE % rejected, dataset))
    if commit.batch.layout is not None or not anywhere:
        return pl.repeat(anywhere, locations.len(), dtype=pl.Boolean, eager=True)
    asked = locations.unique().to_list()
    rows = await commit.connection.fetch(_AT_LOCATIONS % rejected, dataset, asked)
    found = pl.Series([row["location"] for row in rows], dtype=pl.String)
    return locations.is_in(found.implode(), nulls_equal=True)


async def _without_rejected_before(commit: Commit, refined: Refined, rejected: str) -> Refined:
    """Records rejected in an earlier batch are duplicates now, whatever they are worth today.

    Those that are rejected again are told where they are inserted: their identity is there.
    """
    accepted = refined.accepted
    if not any(rows.height for rows in accepted.values()):
        return refined
    suspect = await _suspect(commit, rejected)
    if not suspect.any():
        return refined
    asked = {table: rows.filter(suspect.gather(rows["sequence"])) for table, rows in accepted.items()}
    ids = {table: await asyncio.to_thread(identities, commit, rows) for table, rows in asked.items()}
    known = await rejected_among(commit.connection, pl.concat(list(ids.values())), rejected)
    if known.is_empty():
        return refined
    again = {table: rows.filter(ids[table].is_in(known.implode())) for table, rows in asked.items()}
    kept = {table: without(rows, again[table]) for table, rows in accepted.items()}
    dropped = sum(rows.height for rows in accepted.values()) - sum(rows.height for rows in kept.values())
    return replace(refined, accepted=kept, duplicates=refined.duplicates + dropped)


async def without_stored_before(commit: Commit, refined: Refined) -> Refined:
    """Rejected records that are stored, key and input alike, were accepted once: duplicates."""
    if refined.rejected.is_empty():
        return refined
    rejected = refined.rejected.with_row_index("row")
    stored: list[int] = []
    for table, contract in commit.plan.contracts.items():
        candidates = rejected.filter((pl.col("table") == table) & pl.col("key").is_not_null())
        if not commit.batch.may_repeat:  # else what cannot be read today is told by its bytes
            candidates = candidates.filter(pl.col("input_hash").is_not_null())
        if candidates.height:
            stored += await stored_alike(commit, contract, candidates, table)
    if not stored:
        return refined
    kept = rejected.filter(~pl.col("row").is_in(stored)).drop("row")
    return replace(refined, rejected=kept, duplicates=refined.duplicates + len(stored))


async def without_stored_rivals(commit: Commit, refined: Refined) -> Refined:
    """Records that only another of their batch keeps from a key where they are stored already: duplicates."""
    conflict = pl.col("rules").list.contains(CONFLICT.rule)
    rivals, others = refined.rejected.filter(conflict), refined.rejected.filter(~conflict)
    read = refined.read - others.height
    settled = await without_stored_before(commit, replace(refined, rejected=rivals, read=read))
    return replace(settled, rejected=pl.concat([settled.rejected, others]), read=refined.read)


async def stored_alike(commit: Commit, contract: Contract, candidates: pl.DataFrame, table: str) -> list[int]:
    """Which candidates (`row`, `key`, `input_hash`, where they stand, n) say what a row of the table says."""
    columns = ", ".join(f"{quoted(name)} {contract.column(name).postgres_type}" for name in contract.key)
    rows = await commit.connection.fetch(
        f'SELECT a."asked row" FROM json_to_recordset($1::json) '
        f'AS a({columns}, "asked row" int, input_hash bigint, "asked part" int, "asked digest" text) '
        f"JOIN {stored_table(table)} s USING ({listed(contract.key)}) {_STORED_MESSAGE} "
        f'WHERE s.input_hash = a.input_hash OR ({_STORED_DIGEST} = a."asked digest" '
        'AND s.part IS NOT DISTINCT FROM a."asked part")',
        await asyncio.to_thread(_asked, commit, candidates),
    )
    return [row["asked row"] for row in rows]


def _asked(commit: Commit, candidates: pl.DataFrame) -> str:
    """JSON: each candidate's key, row, input hash and part; its digest, but of a part of a file.

    A key is a JSON object that names its columns: the rest is written behind them.
    """
    digests = commit.digests.gather(candidates["sequence"])
    rows = candidates.select("row", "key", "input_hash", "part").iter_rows()
    of_file = commit.batch.layout is not None
    asked = (
        f'{key[:-1]},"asked row":{row},"input_hash":{json.dumps(hash_)},"asked part":{json.dumps(part)},'
        f'"asked digest":{json.dumps(None if of_file and part is not None else digest)}}}'
        for (row, key, hash_, part), digest in zip(rows, digests, strict=True)
    )
    return f"[{','.join(asked)}]"


async def _append(
    commit: Commit, contract: Contract, rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Insert the rows whose key is new; returns those, and those whose key is stored with other values."""
    if rows.is_empty():
        return rows, rows
    table, columns, key = stored_table(contract.table), listed(rows.columns), listed(contract.key)
    await commit.connection.execute(f"CREATE TEMP TABLE staging (LIKE {table}) ON COMMIT DROP")
    await copy_frame(commit.connection, rows, "staging", schema=None)
    inserted = await commit.connection.fetch(
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM staging ORDER BY {key} "
        f"ON CONFLICT DO NOTHING RETURNING sequence, part"
    )
    differing = await commit.connection.fetch(
        f"SELECT g.sequence, g.part, {_STORED_DIGEST} AS digest FROM staging g "
        f"JOIN {table} s ON {same_key(contract.key, 's', 'g')} {_STORED_MESSAGE} "
        "WHERE s.input_hash <> g.input_hash"
    )
    await commit.connection.execute("DROP TABLE staging")
    conflicting = [row for row in differing if not _same_bytes(commit, row)]
    return only(rows, inserted), only(rows, conflicting)


def _same_bytes(commit: Commit, row: Row) -> bool:
    """Whether the stored row was read from the very bytes: a contract of today may read more of them."""
    return row["part"] is None and row["digest"] == commit.digests[row["sequence"]]


def _with_outcome(
    refined: Refined, contract: Contract, kept: pl.DataFrame, conflicts: pl.DataFrame | None = None
) -> Refined:
    rejected = refined.rejected
    conflicting = 0
    if conflicts is not None and conflicts.height:
        conflicting = conflicts.height
        rejected = pl.concat([rejected, as_rejected(conflicts, contract, CONFLICT)])
    table = contract.table
    dropped = refined.accepted[table].height - kept.height - conflicting
    return replace(
        refined,
        accepted={**refined.accepted, table: kept},
        rejected=rejected,
        duplicates=refined.duplicates + dropped,
    )
