"""A batch on which the transform fails, or which Postgres refuses: halved, until one record stands alone."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from tasks.batch import REJECTED_SCHEMA, RawBatch, Refined, nothing
from tasks.contract import Contract
from tasks.load.rejected import Refusal, as_rejected


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


def refused(batch: RawBatch, refined: Refined, contracts: Mapping[str, Contract], reason: str) -> Refined:
    """A batch of one record, of which Postgres refuses what was read, as a rejected record."""
    why = Refusal(rule="load.refused", error_type="refused", message=reason)
    rows = [as_rejected(accepted, contracts[table], why) for table, accepted in refined.accepted.items()]
    if not any(frame.height for frame in rows):  # it refuses our own words: none of them is said again
        return _unread(batch, why)
    return replace(refined, accepted={}, rejected=pl.concat([*rows, refined.rejected]))


def failed(batch: RawBatch, reason: str) -> Refined:
    """A batch of one record, on which the transform fails, as a rejected record."""
    return _unread(batch, Refusal(rule="transform.failed", error_type="failed", message=reason), "validate")


def _unread(batch: RawBatch, why: Refusal, stage: str = "load") -> Refined:
    row = {
        "sequence": batch.messages.height - 1,
        "part": None if batch.layout is None else 0,
        "stage": stage,
        "rules": [why.rule],
        "error_type": why.error_type,
        "message": why.message,
    }
    rejected = pl.DataFrame([row], schema=REJECTED_SCHEMA, orient="row")
    return Refined(accepted={}, rejected=rejected, duplicates=0, filtered=0, read=1)
