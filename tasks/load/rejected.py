"""Rejected records as they are stored: pointing to their bytes, and known again when they come back."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import polars_hash as plh

from infra.postgres import Connection, Row, copy_frame
from lineage.digest import message_digests
from lineage.identifiers import literal
from lineage.rejected import MAY_PASS, sum_of_new
from tasks.batch import REJECTED_SCHEMA, RawBatch
from tasks.canonical import canonical_key
from tasks.contract import Contract
from tasks.layout import exact_in
from tasks.load.plan import Commit, LoadPlan

NO_PART = "-"

_KNOWN = "SELECT identity FROM store.rejected r WHERE identity = ANY($1::bytea[]) %s"
ANYTHING, PASSING = "", "AND r.may_pass"
"""What was rejected: for whatever reason; or where the same contract may take it when it comes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a row that met its contract is not stored."""

    rule: str
    error_type: str
    message: str  # one sentence for a person


def passing(plan: LoadPlan) -> str:
    """PASSING; also what broke a rule of a column that another state of what is looked up may make pass."""
    if not plan.deciding:
        return PASSING
    named = ", ".join(literal(name) for name in sorted(plan.deciding))
    of_set = f"EXISTS (SELECT FROM unnest(r.rules) AS rule WHERE split_part(rule, '.', 1) IN ({named}))"
    return f"AND (r.may_pass OR {of_set})"


def as_rejected(rows: pl.DataFrame, contract: Contract, why: Refusal) -> pl.DataFrame:
    """Accepted rows of a contract's table as rejected records (REJECTED_SCHEMA, n)."""
    return rows.select(
        "sequence",
        "part",
        pl.lit("load").alias("stage"),
        pl.lit([why.rule], dtype=pl.List(pl.String)).alias("rules"),
        pl.lit(why.error_type).alias("error_type"),
        pl.lit(why.message).alias("message"),
        pl.lit(contract.table).alias("table"),
        canonical_key(rows, contract),
        "input_hash",
    ).cast(REJECTED_SCHEMA)


def identities(commit: Commit, rows: pl.DataFrame) -> pl.Series:
    """`identities_in` of rows of a commit."""
    return identities_in(commit.batch, commit.digests, rows, commit.reader)


def identities_in(batch: RawBatch, digests: pl.Series, rows: pl.DataFrame, reader: str | None) -> pl.Series:
    """SHA-256 (Binary of 32 bytes, n) of dataset, location, part and digest for rows of a batch.

    It is the same when the message is delivered again, whatever batch it comes in then. A record within a
    part of a file has a line and bytes of its own: it is the same however the file is cut. `reader`: the
    pipeline, if it is not the first that read the dataset.
    """
    if batch.layout is not None:
        found = exact_in(batch, rows).select("location", part=None, digest=pl.col("payload"))
        found = found.with_columns(digest=message_digests(found["digest"]))
    else:
        at = rows["sequence"]
        located = batch.messages["location"].gather(at), digests.gather(at)
        found = rows.select("part").with_columns(located[0], located[1].alias("digest"))
    text = pl.concat_str(
        pl.lit(batch.dataset),
        pl.col("location").fill_null(""),
        pl.col("part").cast(pl.String).fill_null(NO_PART),
        pl.col("digest"),
        *([] if reader is None else [pl.lit(reader)]),
        separator="\x1f",
    ).alias("text")
    hashes = found.select(text).select(plh.col("text").chash.sha2_256().str.decode("hex"))
    return hashes["text"].alias("identity")


async def copy_rejected(commit: Commit, rejected: pl.DataFrame) -> int:
    """Copy rejected records (REJECTED_SCHEMA, n) into their table; returns the sum of their verdicts.

    One that is known is a unique violation.
    """
    if rejected.is_empty():
        return 0
    stored = await asyncio.to_thread(lambda: _stored_form(commit, rejected, identities(commit, rejected)))
    total, _ = await asyncio.gather(
        asyncio.to_thread(sum_of_new, stored, commit.keys.current),
        copy_frame(commit.connection, stored, "rejected"),
    )
    return total


async def insert_rejected(commit: Commit, rejected: pl.DataFrame) -> pl.DataFrame:
    """Insert the records that nobody rejected meanwhile, each once; returns those.

    The same bytes twice in one batch are one record: the first.
    """
    if rejected.is_empty():
        return rejected
    ids = identities(commit, rejected)
    first = ids.is_first_distinct()
    rejected, ids = rejected.filter(first), ids.filter(first)
    stored = _stored_form(commit, rejected, ids)
    columns = ", ".join(stored.columns)
    await commit.connection.execute(
        "CREATE TEMP TABLE staging_rejected (LIKE store.rejected INCLUDING DEFAULTS)"
    )
    await copy_frame(commit.connection, stored, "staging_rejected", schema=None)
    rows = await commit.connection.fetch(
        f"INSERT INTO store.rejected ({columns}) SELECT {columns} FROM staging_rejected ORDER BY identity "
        "ON CONFLICT DO NOTHING RETURNING identity"
    )
    await commit.connection.execute("DROP TABLE staging_rejected")
    return rejected.filter(ids.is_in(_identities_of(rows).implode()))


async def rejected_among(connection: Connection, ids: pl.Series, rejected: str = ANYTHING) -> pl.Series:
    """Those of these identities (Binary, n) that were `rejected` before, whatever became of them since."""
    return _identities_of(await connection.fetch(_KNOWN % rejected, ids.to_list()))


def _identities_of(rows: Sequence[Row]) -> pl.Series:
    return pl.Series([row["identity"] for row in rows], dtype=pl.Binary)


def _stored_form(commit: Commit, rejected: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """Rejected records with the columns of `store.rejected`, sorted by identity against deadlocks."""
    return (
        rejected.with_columns(identity=ids, location=exact_in(commit.batch, rejected)["location"])
        .select(
            "identity",
            pl.lit(commit.number, dtype=pl.Int64).alias("batch"),
            pl.lit(commit.raw_batch, dtype=pl.Int64).alias("raw_batch"),
            "sequence",
            "part",
            pl.lit(commit.batch.dataset).alias("dataset"),
            "location",
            "stage",
            "rules",
            "error_type",
            "message",
            pl.col("table").alias("table_name"),
            "key",
            "input_hash",
            contract_versions(commit),
            commit.now.alias("rejected_at"),
            MAY_PASS,
        )
        .sort("identity")
    )


def contract_versions(commit: Commit) -> pl.Expr:
    """`contract`: the version of the contract that a rejected record's `table` has; unknown: the newest."""
    versions = {table: contract.version for table, contract in commit.plan.contracts.items()}
    newest = max(versions.values(), default=1)  # a trigger has no contract
    table = pl.col("table")
    return table.replace_strict(versions, default=newest, return_dtype=pl.Int32).alias("contract")
