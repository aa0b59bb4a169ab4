"""Which columns of the source each column of each table comes from, read from the plans that run.

Decoding is not a plan: it takes each input from the path its contract says, so that much is known, and a rule
that rejects a record decides about all its columns. What a Python function makes is opaque.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import polars as pl

from lineage.columns import ColumnEdge, Kind, Subtype, named, trace
from tasks.contract import Contract
from tasks.transform.validate import Rule, rules_of

Columns = Mapping[str, tuple[ColumnEdge, ...]]
"""Table → its edges."""

ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # a rule's columns are the same whenever it is asked


def decoded(
    contract: Contract, source: str, prefix: str = "", more: Mapping[str, pl.DataType] = {}
) -> pl.LazyFrame:
    """An empty plan from the source's columns (their paths, after `prefix`) to the contract's inputs.

    `more`: columns of the source that decoding hands on under their own names.
    """
    paths = {prefix + ".".join(column.source_path): column for column in contract.recorded}
    schema = dict(more) | {path: column.polars_type for path, column in paths.items()}
    frame = named(pl.LazyFrame(schema=schema), source)
    return frame.select(*(pl.col(path).alias(column.name) for path, column in paths.items()), *more)


def validated(frame: pl.LazyFrame, contract: Contract, rules: Iterable[Rule] = ()) -> pl.LazyFrame:
    """The records that keep the contract's rules, and these."""
    return kept(frame, [*rules_of(contract, ANY_TIME, frame.collect_schema()), *rules])


def kept(frame: pl.LazyFrame, rules: Sequence[Rule]) -> pl.LazyFrame:
    """The records that keep these rules."""
    return frame.filter(~pl.any_horizontal(rule.broken for rule in rules)) if rules else frame


def opaque(source: str, columns: Iterable[str]) -> tuple[ColumnEdge, ...]:
    """Columns that a Python function makes of the source's records."""
    return tuple(
        ColumnEdge(source, None, column, Kind.DIRECT, Subtype.TRANSFORMATION, True) for column in columns
    )


def edges_of(frame: pl.LazyFrame, contract: Contract, source: str) -> tuple[ColumnEdge, ...]:
    """The edges of the contract's columns that the plan has; the others are made where no plan shows it."""
    there = frame.collect_schema().names()
    traced = trace(frame.select(name for name in contract.names if name in there))
    return (*traced, *opaque(source, (name for name in contract.names if name not in there)))
