"""Rejected records against the ledger: how many each batch rejected, and what it and replays said of them.

A record's row changes when a replay rejects it again, so the replay keeps the hash of what stood before: the
sum over a batch's verdicts can be computed again at any time.
"""

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from .books import Books, Counts
from .digest import row_hashes, signed, sum_of
from .ports import Connection
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

_RULE = pl.element()
_PASSING_RULE = _RULE.str.ends_with(".furthest") | _RULE.is_in(["load.refused", "transform.failed"])
MAY_PASS = pl.col("rules").list.eval(_PASSING_RULE).list.any().alias("may_pass")
"""Whether a record rejected by these `rules` (List of String) may pass if it comes again, bytes the same."""

_RULES = ("rules", "rules_before")

# The records each batch rejected, first or again, as they stand; `before`: their hash before a later replay.
_JUDGED = """
SELECT j.batch AS judged_by, next.before, r.* FROM (
    SELECT identity, batch FROM store.rejected WHERE batch >= $1 AND batch < $2
    UNION ALL
    SELECT identity, batch FROM store.replays WHERE verdict = 'rejected' AND batch >= $1 AND batch < $2
) j
JOIN store.rejected r USING (identity)
LEFT JOIN LATERAL (
    SELECT p.before FROM store.replays p
    WHERE p.identity = j.identity AND p.batch > j.batch AND p.verdict = 'rejected' ORDER BY p.batch LIMIT 1
) next ON true
"""
_VERDICTS = "SELECT * FROM store.replays WHERE batch >= $1 AND batch < $2"
_UNLIKE_REPLAYS = """
SELECT r.batch, count(*) AS records FROM store.rejected r
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE verdict = 'rejected') AS again,
        nullif(max(p.batch), max(p.batch) FILTER (WHERE verdict = 'rejected')) AS resolved_by
    FROM store.replays p WHERE p.identity = r.identity
) said ON true
WHERE r.batch >= $1 AND r.batch < $2
    AND (r.attempts <> 1 + said.again OR r.resolved_by IS DISTINCT FROM said.resolved_by)
GROUP BY r.batch ORDER BY r.batch
"""
_PASSING = "SELECT batch, rules, may_pass AS said FROM store.rejected WHERE batch >= $1 AND batch < $2"
_PASSING_SCHEMA = {"batch": pl.Int64(), "rules": pl.List(pl.String()), "said": pl.Boolean()}


async def rejected_sums(connection: Connection, first: int, end: int) -> dict[int, int]:
    """Batch → the sum of its verdicts: of the records it rejected as it left them, and of its replays."""
    return {batch: total for batch, (_, total) in (await _judged(connection, first, end)).items()}


def record_hashes(rows: Sequence[Any]) -> pl.Series:
    """The hashes (Int64, n) of rows of `store.rejected`."""
    return _hashes(rows, RECORD)


def sum_of_new(records: pl.DataFrame) -> int:
    """The sum of the verdicts of records that are to be stored (the columns of RECORD as stored, n)."""
    identity = records["identity"].bin.encode("hex")
    rules = pl.Series("rules", _plain("rules", records["rules"].to_list()), pl.String)
    return sum_of(row_hashes(records.with_columns(identity, rules), list(RECORD)))


async def check_rejected(
    connection: Connection, books: Books, first: int, end: int, counts: Counts
) -> AsyncIterator[str]:
    """The verdicts of each batch; a record that is resolved still counts, and so does one rejected again."""
    judged = await _judged(connection, first, end)
    counts.rejected += await connection.fetchval(
        "SELECT count(*) FROM store.rejected WHERE batch >= $1 AND batch < $2", first, end
    )
    for number in sorted(judged.keys() | books.ledger.keys()):
        rows, total = judged.get(number, (0, 0))
        if number not in books.ledger:
            yield f"rejected: {rows} record(s) of batch {number}, which is not in the ledger"
        elif rows != books.ledger[number]["rejected"]:
            yield f"rejected, batch {number}: {books.ledger[number]['rejected']} recorded, {rows} stored"
        elif total != books.ledger[number]["rejected_sum"]:
            yield f"rejected, batch {number}: what is said of its {rows} record(s) is not what was recorded"
    for row in await connection.fetch(_UNLIKE_REPLAYS, first, end):
        yield (
            f"rejected, batch {row['batch']}: {row['records']} record(s) with other attempts or another end "
            "than their replays say"
        )
    for number, unlike in sorted((await _unlike_rules(connection, first, end)).items()):
        yield f"rejected, batch {number}: {unlike} record(s) whose may_pass is not what their rules say"


async def _judged(connection: Connection, first: int, end: int) -> dict[int, tuple[int, int]]:
    """Batch → how many records it rejected, and the sum of its verdicts."""
    rows: dict[int, int] = defaultdict(int)
    sums: dict[int, int] = defaultdict(int)
    async for records in chunks(connection, _JUDGED, first, end):
        for record, now in zip(records, record_hashes(records), strict=True):
            rows[record["judged_by"]] += 1
            sums[record["judged_by"]] += now if record["before"] is None else record["before"]
    async for verdicts in chunks(connection, _VERDICTS, first, end):
        for verdict, now in zip(verdicts, _hashes(verdicts, VERDICT), strict=True):
            sums[verdict["batch"]] += now
    return {batch: (rows[batch], signed(total)) for batch, total in sums.items()}


async def _unlike_rules(connection: Connection, first: int, end: int) -> Counter[int]:
    """Batch → how many of its records may pass by their rules and not by their column, or the other way."""
    unlike: Counter[int] = Counter()
    async for rows in chunks(connection, _PASSING, first, end):
        records = pl.DataFrame([tuple(row) for row in rows], _PASSING_SCHEMA, orient="row")
        unlike.update(records.filter(pl.col("said").ne_missing(MAY_PASS))["batch"].to_list())
    return unlike


def _hashes(rows: Sequence[Any], columns: Mapping[str, pl.DataType]) -> pl.Series:
    series = {
        name: pl.Series(_plain(name, [row[name] for row in rows]), dtype=columns[name]) for name in columns
    }
    return row_hashes(pl.DataFrame(series), list(columns))


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
