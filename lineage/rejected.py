"""Rejected records against the ledger: how many each batch rejected, and what it and replays said of them.

A record's row changes when a replay rejects it again, so the replay keeps the hash of what stood before: the
sum over a batch's verdicts can be computed again at any time.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl

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


async def rejected_sums(connection: Connection, first: int, end: int) -> dict[int, int]:
    """Batch → the sum of its verdicts: of the records it rejected as it left them, and of its replays."""
    return {batch: total for batch, (_, total) in (await judged(connection, first, end)).items()}


def record_hashes(rows: Sequence[Any]) -> pl.Series:
    """The hashes (Int64, n) of rows of `store.rejected`."""
    return _hashes(rows, RECORD)


def sum_of_new(records: pl.DataFrame) -> int:
    """The sum of the verdicts of records that are to be stored (the columns of RECORD as stored, n)."""
    identity = records["identity"].bin.encode("hex")
    rules = pl.Series("rules", _plain("rules", records["rules"].to_list()), pl.String)
    return sum_of(row_hashes(records.with_columns(identity, rules), list(RECORD)))


async def judged(connection: Connection, first: int, end: int) -> dict[int, tuple[int, int]]:
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
