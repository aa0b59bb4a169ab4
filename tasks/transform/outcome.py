"""The end of a transform by record: checked frames to the two halves of a batch, with balanced books."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from lineage.digest import row_hashes
from tasks.batch import ORIGIN_SCHEMA, REJECTED_SCHEMA, Refined
from tasks.canonical import canonical_key
from tasks.contract import Contract
from tasks.layout import without_places
from tasks.transform.record_rules import decoded, rule_class, sentence
from tasks.transform.robot_pages import Unreadable

KEY: Final = "canonical key"  # no contract's column has a space in its name


def outcome(
    unreadable: Sequence[Unreadable],
    tables: Sequence[tuple[pl.DataFrame, Contract]],
    left_out: pl.DataFrame | None = None,
) -> Refined:
    """Split every table into accepted and rejected, and drop what stands in the batch twice.

    A frame has its contract's columns, `sequence`, `part` and `rules` (List(String), empty: accepted). Of a
    key that stands there twice the last sight stays. `input_hash` covers every column but `source_name`.
    What is `left_out` (PLACE_SCHEMA, n) is not among it.
    """
    if left_out is not None:
        tables = [(without_places(frame, left_out), contract) for frame, contract in tables]
        unreadable = [each for each in unreadable if not _is_left_out(each, left_out)]
    accepted: dict[str, pl.DataFrame] = {}
    rejected = [_rejected_messages(unreadable)]
    duplicates = 0
    for frame, contract in tables:
        hashed = frame.with_columns(
            row_hashes(frame, [name for name in contract.names if name != "source_name"]).alias("input_hash")
        )
        good = hashed.filter(pl.col("rules").list.len() == 0)
        once = good.unique(contract.key, keep="last", maintain_order=True)
        duplicates += good.height - once.height
        accepted[contract.table] = once.select(*contract.names, *ORIGIN_SCHEMA.names())
        rejected.append(_rejected_rows(hashed.filter(pl.col("rules").list.len() > 0), contract))
    return Refined(
        accepted=accepted,
        rejected=pl.concat(rejected).sort("sequence", "part", nulls_last=False, maintain_order=True),
        duplicates=duplicates,
        filtered=0,
        read=len(unreadable) + sum(frame.height for frame, _ in tables),
    )


def _is_left_out(found: Unreadable, left_out: pl.DataFrame) -> bool:
    return not {(found.sequence, found.part), (found.sequence, None)}.isdisjoint(left_out.rows())


def _rejected_messages(unreadable: Sequence[Unreadable]) -> pl.DataFrame:
    rows = [
        {
            "sequence": found.sequence,
            "part": found.part,
            "stage": "decode",
            "rules": [found.rule],
            "error_type": rule_class(found.rule),
            "message": found.message,
            "table": found.table,
            "key": None,
            "input_hash": None,
        }
        for found in unreadable
    ]
    return pl.DataFrame(rows, schema=REJECTED_SCHEMA, orient="row")


def _rejected_rows(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    keyed = frame.with_columns(canonical_key(frame, contract).alias(KEY))
    rows = [
        {
            "sequence": row["sequence"],
            "part": row["part"],
            "stage": "validate",
            "rules": row["rules"],
            "error_type": rule_class(row["rules"][0]),
            "message": sentence(row["rules"]),
            "table": contract.table,
            "key": row[KEY],
            "input_hash": row["input_hash"] if decoded(row["rules"]) else None,
        }
        for row in keyed.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=REJECTED_SCHEMA, orient="row")
