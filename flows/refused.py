"""A batch that Postgres refuses for its data: halved, until the one message it refuses stands alone."""

from dataclasses import replace

import polars as pl

from tasks.batch import REJECTED_SCHEMA, RawBatch, Refined


def halves(batch: RawBatch) -> tuple[RawBatch, RawBatch]:
    """The batch in two, each without a way to acknowledge: that is done once, for the whole."""
    middle = batch.messages.height // 2
    half = replace(batch, acknowledge=_later)
    return (
        replace(half, messages=batch.messages[:middle]),
        replace(half, messages=batch.messages[middle:]),
    )


async def _later() -> None:
    """The whole batch is acknowledged when both halves are committed."""


def refused(reason: str) -> Refined:
    """One message as a rejected record."""
    row = {
        "sequence": 0,
        "part": None,
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
