"""A batch that Postgres refuses for its data: halved, until the one record it refuses stands alone."""

from dataclasses import replace

import polars as pl

from tasks.batch import REJECTED_SCHEMA, RawBatch, Refined, nothing


def halves(batch: RawBatch) -> tuple[RawBatch, RawBatch] | None:
    """The batch in two, each without a way to acknowledge: that is done once, for the whole."""
    if batch.halve is not None:
        return batch.halve()
    middle = batch.messages.height // 2
    half = replace(batch, acknowledge=nothing)
    if not middle:
        return None
    first, second = batch.messages[:middle], batch.messages[middle:]
    return replace(half, messages=first), replace(half, messages=second)


def refused(batch: RawBatch, reason: str) -> Refined:
    """A batch of one record as a rejected record."""
    row = {
        "sequence": batch.messages.height - 1,
        "part": None if batch.layout is None else 0,
        "stage": "load",
        "rules": ["load.refused"],
        "error_type": "refused",
        "message": reason,
        "table": None,
        "key": None,
        "input_hash": None,
    }
    rejected = pl.DataFrame([row], schema=REJECTED_SCHEMA, orient="row")
    return Refined(accepted={}, rejected=rejected, duplicates=0, filtered=0, read=1)
