"""What a commit is made of: the pipeline it belongs to, and what every write of it shares."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from infra.postgres import Connection
from lineage.columns import ColumnEdge
from lineage.keys import KeyRing
from lineage.model import Run, SubjectKind, Transformation
from tasks.batch import Position, RawBatch
from tasks.contract import Contract, time_literal


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
    uses: Mapping[str, Mapping[SubjectKind, str]] = field(default_factory=dict)  # table → kind → JSON column
    columns: Callable[[str], Mapping[str, Sequence[ColumnEdge]]] = _no_columns  # source (URI) → table → edges
    deciding: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Column → the datasets (URIs) whose state may decide whether it keeps its rules."""

    def position_id(self, batch: RawBatch) -> str | None:
        """The id of the batch's position, where it has one that never comes again with other messages."""
        return None if batch.position is None or batch.position.may_recur else self.id_of(batch.position)

    def id_of(self, position: Position) -> str:
        """An id derived from a position: the same for the same position and pipeline."""
        text = json.dumps([self.pipeline, position.source, dict(position.detail)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What every write of one commit shares."""

    connection: Connection  # with the transaction open
    number: int  # the batch's number
    at: datetime  # processed_at of all its rows, by Postgres' clock
    plan: LoadPlan
    keys: KeyRing  # of the digests
    batch: RawBatch
    digests: pl.Series  # of the messages, hexadecimal (n)
    raw_digest: bytes | None = None  # of the messages it brought; a replay brings none
    raw_batch: int | None = None  # of a replay: the batch whose messages it read again
    reader: str | None = None  # what the pipeline adds to the identities of rejected records (`readers.py`)
    looked_up: Mapping[str, str] | None = None  # see `Refined`

    @property
    def now(self) -> pl.Expr:
        return time_literal(self.at)
