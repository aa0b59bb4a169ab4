"""Filtered records, as the log's entry of their commit says them: how many there are, and a digest of which.

raw#BATCH ── FEEDS ─▶ filtered#BATCH ── store.filtered
"""

from typing import NamedTuple

import polars as pl

from . import naming
from .digest import row_hashes, sum_of

FILTERED = naming.postgres("filtered")
SCHEMA = pl.Schema(
    {
        "identity": pl.Binary(),
        "batch": pl.Int64(),
        "raw_batch": pl.Int64(),
        "sequence": pl.Int32(),
        "part": pl.Int32(),
    }
)
"""Rows of `store.filtered`."""


class Told(NamedTuple):
    """Filtered records of one batch: how many, and a digest of which, 16 hexadecimal digits."""

    rows: int
    digest: str


def told(rows: pl.DataFrame) -> Told:
    """What an entry says of the rows of a batch (SCHEMA, n, in any order)."""
    return Told(rows.height, f"{hash_of(rows) % (1 << 64):016x}")


def hash_of(rows: pl.DataFrame) -> int:
    """The sum of the rows' hashes: those of the parts of a batch add up to the batch's."""
    text = rows.with_columns(pl.col("identity").bin.encode("hex"))
    return sum_of(row_hashes(text, list(SCHEMA)))
