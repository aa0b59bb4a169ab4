"""Questions about rejected records: which there are, one in full, and what a replay would read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from infra.postgres import Pool, translated
from lineage import query_files
from lineage.errors import NotFoundError, RejectedError
from lineage.ports import Connection
from tasks.look.origin import message_of

CHOSEN = """
($1::text IS NULL OR dataset = $1) AND ($2::text IS NULL OR $2 = ANY(rules))
AND ($3::text IS NULL OR stage = $3) AND ($4::timestamptz IS NULL OR rejected_at >= $4)
AND ($5 OR resolved_by IS NULL)
"""
"""The condition of `Which`, with its `values` as the first parameters."""
# Rejected records, the newest first.
_LIST = (
    f"SELECT * FROM store.rejected WHERE {CHOSEN} ORDER BY rejected_at DESC, batch DESC, sequence LIMIT $6"
)
# How many there are without the limit.
_COUNT = f"SELECT count(*) FROM store.rejected WHERE {CHOSEN}"
# Which raw batches hold open records, the oldest first, who read them, and which records of them are chosen.
_OPEN_BATCHES = query_files.read(__package__, "open_batches.sql").format(chosen=CHOSEN)
# Which rules were broken, how often, and one message of a record that broke each.
_RULES = """
SELECT rule, count(*) AS records, min(message) AS example FROM store.rejected, unnest(rules) AS rule
WHERE $1::bigint IS NULL OR batch = $1 GROUP BY rule ORDER BY records DESC, rule
"""
# Of what records were rejected so far.
_KNOWN = {
    "rule": "SELECT DISTINCT unnest(rules) AS name FROM store.rejected ORDER BY 1",
    "dataset": "SELECT DISTINCT dataset AS name FROM store.rejected ORDER BY 1",
}
# Records whose identity (32 bytes) begins so; three are enough to say that it is not the only one.
_FIND = """
SELECT * FROM store.rejected
WHERE identity BETWEEN decode(rpad($1, 64, '0'), 'hex') AND decode(rpad($1, 64, 'f'), 'hex')
ORDER BY identity LIMIT 3
"""
# What replays, and who dropped it, said of one record, the oldest first.
_HISTORY = """
SELECT p.batch, p.verdict, p.rules_before, p.rules, l.processed_at, a.by_whom, a.reason
FROM store.replays p JOIN store.ledger l USING (batch) LEFT JOIN store.recalls a ON a.act = p.batch
WHERE p.identity = $1 ORDER BY p.batch
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Chosen rejected records; None: any. `resolved`: also those that were replayed or dropped."""

    dataset: str | None = None
    rule: str | None = None
    stage: str | None = None
    since: datetime | None = None
    resolved: bool = False

    @property
    def values(self) -> tuple[str | None, str | None, str | None, datetime | None, bool]:
        return self.dataset, self.rule, self.stage, self.since, self.resolved


@dataclass(frozen=True, slots=True)
class Listed:
    """The newest records, as many as asked for, and how many there are in all.

    `unknown`: a sentence for a rule or a dataset that no record was ever rejected for; it may be mistyped.
    """

    records: Sequence[dict[str, Any]]
    total: int
    unknown: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """One record, the bytes of its message (None: erased) and what replays said of it."""

    record: dict[str, Any]
    payload: bytes | None
    beside: Mapping[str, str]  # what came with it: its key, its headers, when it was sent
    replays: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A raw batch with chosen open records, by their identities; `pipeline`: who read it, None: not known."""

    raw_batch: int
    dataset: str
    identities: Sequence[bytes]
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule, how many rejected records broke it, and the message of one."""

    rule: str
    records: int
    example: str


async def list_rejected(pool: Pool, which: Which, limit: int) -> Listed:
    """Rejected records, the newest first."""
    with translated():
        rows = await pool.fetch(_LIST, *which.values, limit)
        total = len(rows) if len(rows) < limit else await pool.fetchval(_COUNT, *which.values)
        unknown = [] if rows else await _unknown(pool, which)
    return Listed([_record(row) for row in rows], total, unknown)


async def _unknown(pool: Pool, which: Which) -> list[str]:
    told = []
    for name, wanted in (("rule", which.rule), ("dataset", which.dataset)):
        known = [row["name"] for row in await pool.fetch(_KNOWN[name])] if wanted else []
        if wanted and wanted not in known:
            there = ", ".join(known) or "none"
            told.append(f"No record was ever rejected with the {name} {wanted}; those there are: {there}.")
    return told


async def show_rejected(pool: Pool, prefix: str) -> Shown:
    """The record whose identity (hexadecimal) begins with `prefix`.

    Raises NotFoundError when there is none, RejectedError when there are several.
    """
    with translated():
        async with pool.acquire() as connection:
            row = await _only_one(connection, prefix)
            place = row["sequence"], row["part"]
            message = await message_of(connection, row["raw_batch"] or row["batch"], place)
            history = await connection.fetch(_HISTORY, row["identity"])
    return Shown(_record(row), message.payload, message.beside, [dict(each) for each in history])


async def _only_one(connection: Connection, prefix: str) -> Any:
    wanted = prefix.strip().lower()
    if not 0 < len(wanted) <= 64 or set(wanted) - set("0123456789abcdef"):
        raise RejectedError(f"{prefix!r} is no identity: give the hexadecimal digits `rejected ls` shows")
    rows = await connection.fetch(_FIND, wanted)
    if not rows:
        raise NotFoundError(
            f"no rejected record begins with {wanted}: `headwater rejected ls --all` lists them"
        )
    if len(rows) > 1:
        several = ", ".join(row["identity"].hex()[: len(wanted) + 8] for row in rows)
        raise RejectedError(f"{wanted} is not one record ({several} …): give more digits")
    return rows[0]


async def broken_rules(pool: Pool, batch: int | None = None) -> list[BrokenRule]:
    """The rules that records of a batch, or all records ever rejected, have broken; the most broken first."""
    with translated():
        return [BrokenRule(**row) for row in await pool.fetch(_RULES, batch)]


async def open_batches(pool: Pool, which: Which) -> list[OpenBatch]:
    """The raw batches a replay of these records reads, the oldest first."""
    with translated():
        rows = await pool.fetch(_OPEN_BATCHES, *which.values)
    return [OpenBatch(row["raw_batch"], row["dataset"], row["identities"], row["pipeline"]) for row in rows]


def _record(row: Any) -> dict[str, Any]:
    return {**row, "identity": row["identity"].hex()}
