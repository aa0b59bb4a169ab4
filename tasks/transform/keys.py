"""Keys within one batch: what is the same record again, and what contradicts one that came before it.

Across batches the database settles the same questions by the same rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from lineage.digest import row_hashes
from tasks.contract import Contract, OnReturn
from tasks.decode import cells

INPUT_HASH: Final = "input_hash"
CONFLICT: Final = "key.conflict"


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """`kept`: one row per key, sorted by key; `conflicts`: rows whose key was taken by other values;
    `duplicates`: rows that said the same again; `superseded`: rows that a newer one of the batch replaced."""

    kept: pl.DataFrame
    conflicts: pl.DataFrame
    duplicates: int
    superseded: pl.DataFrame


def hash_inputs(frame: pl.DataFrame, contract: Contract, seen: Sequence[str] = ()) -> pl.DataFrame:
    """Add `input_hash` over what was read: before defaults, before any enrichment.

    When a record came is not in it, and a number is as it was before it was converted: a record that is
    delivered again is the same record. `seen`: columns that are not read, and belong to it all the same.
    """
    names = [
        cells.as_read(column.name) if column.conversion else column.name
        for column in contract.columns
        if column.name in seen or not (column.derived or column.set or column.is_arrival)
    ]
    return frame.with_columns(row_hashes(frame, names).alias(INPUT_HASH))


def deduplicate(frame: pl.DataFrame, contract: Contract) -> Deduplicated:
    """Keep one of the rows of each key; rows with `input_hash` and `sequence` that keep every other rule.

    `append`: the first of a key (lowest sequence) is kept; a later one is a duplicate when its input is the
    same, else a conflict. `revise`: the last is kept; earlier ones are duplicates or superseded.
    """
    key = list(contract.key)
    revise = contract.on_return is OnReturn.REVISE
    ranked = frame.sort(*key, cells.SEQUENCE, descending=[False] * len(key) + [revise])
    again = ranked.select(
        pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in key)
    ).to_series()
    again = again.fill_null(False)
    if not again.any():
        return Deduplicated(ranked, ranked.clear(), 0, ranked.clear())
    kept, later = ranked.filter(~again), ranked.filter(again)
    first = later.select(key).join(kept.select(*key, INPUT_HASH), on=key, how="left", maintain_order="left")
    same = later[INPUT_HASH] == first[INPUT_HASH]
    differing = later.filter(~same)
    none = differing.clear()
    conflicts, superseded = (none, differing) if revise else (differing, none)
    return Deduplicated(kept, conflicts, int(same.sum()), superseded)
