"""What a commit is made of: the pipeline it belongs to, and what every write of it shares."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from infra.postgres import Connection
from lineage.columns import ColumnEdge
from lineage.model import Run, Transformation
from tasks.batch import RawBatch
from tasks.contract import Contract

UTC_MICROS = pl.Datetime("us", "UTC")


def _no_columns(_source: str) -> Mapping[str, Sequence[ColumnEdge]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One pipeline as the load step sees it."""

    pipeline: str
    contracts: Mapping[str, Contract]  # table name → contract
    subjects: Mapping[str, tuple[str, str]]  # table name → (kind of subject, column that names it)
    transformation: Transformation
    run: Run
    columns: Callable[[str], Mapping[str, Sequence[ColumnEdge]]] = _no_columns  # source (URI) → table → edges

    def position_id(self, batch: RawBatch) -> str | None:
        """An id derived from the batch's position: the same for the same position and pipeline."""
        if batch.position is None:
            return None
        text = json.dumps([self.pipeline, batch.position.source, dict(batch.position.detail)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What every write of one commit shares."""

    connection: Connection  # with the transaction open
    number: int  # the batch's number
    at: datetime  # processed_at of all its rows
    plan: LoadPlan
    batch: RawBatch
    digests: pl.Series  # of the messages, Binary (n)
    raw_batch: int | None = None  # of a replay: the batch whose messages it read again

    @property
    def now(self) -> pl.Expr:
        return pl.lit(self.at, dtype=UTC_MICROS)
