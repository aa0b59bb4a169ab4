"""Stored tables as the record sees them, and how their rows are read: in chunks, and never kept."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from .bucket import Bucket
from .identifiers import column_of, literal, quoted, stored_table
from .ports import Connection

CHUNK = 20_000
"""Rows read at a time."""

Columns = Mapping[str, pl.DataType]
"""Names and Polars types, in the order in which they are hashed."""


@dataclass(frozen=True, slots=True)
class Digested:
    """The columns that a digest covers: as they were called when it was made, and by now, in one order."""

    names: Sequence[str]
    columns: Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """A stored table as the record sees it.

    `columns`, then `origin`, are hashed; `earlier` are columns of versions before: rows written under one
    were hashed without the columns that came later, and must hold nulls there.
    """

    name: str
    columns: Columns
    key: tuple[str, ...]
    time: str | None  # None: its rows have no time, and so no buckets
    kind: Literal["append", "revise", "recompute"]
    origin: Columns = field(default_factory=dict)  # where a row came from, the same in every version
    earlier: tuple[Columns, ...] = ()
    digested: Mapping[str, Digested] = field(default_factory=dict)  # what digests cover, by the ledger's name
    bucket: Bucket = Bucket.HOUR  # of a derived table: by what it is made again

    @property
    def time_column(self) -> str:
        """Its `time`, asked of tables that have one."""
        assert self.time is not None, f"{self.name} has no time"  # noqa: S101 - whoever asks has looked
        return self.time

    @property
    def history(self) -> bool:
        """Whether `NAME_history` stands."""
        return self.kind != "recompute"

    @property
    def tables(self) -> tuple[str, ...]:
        """Where its rows stand: one that was replaced has moved to the history."""
        return (self.name, f"{self.name}_history") if self.history else (self.name,)

    @property
    def stored_columns(self) -> dict[str, tuple[str, ...]]:
        """Every table that is made for it, with all its columns."""
        columns = (*self.every_column, "batch")
        if not self.history:
            return {self.name: columns}
        return {
            self.name: columns,
            f"{self.name}_history": (*columns, "replaced_by"),
            f"{self.name}_quarantine": (*self.key, "act"),
        }

    @property
    def versions(self) -> tuple[Columns, ...]:
        return (self.columns, *self.earlier)

    @property
    def spellings(self) -> tuple[tuple[str, ...], ...]:
        """The columns of all versions, by the names that they had in them."""
        carried = {*self.origin, "batch"}
        then = (tuple(name for name in each.names if name not in carried) for each in self.digested.values())
        return tuple(dict.fromkeys([*map(tuple, self.versions), *then]))

    @property
    def every_column(self) -> dict[str, pl.DataType]:
        """The columns of all versions, then where a row came from."""
        columns = {name: type_ for version in self.versions for name, type_ in version.items()}
        return {**columns, **self.origin}


async def chunks(
    connection: Connection, query: str, *args: Any, size: int = CHUNK
) -> AsyncIterator[Sequence[Any]]:
    """The rows of a query, `size` at a time, through a cursor of the open transaction."""
    cursor = await connection.cursor(query, *args)
    while rows := await cursor.fetch(size):
        yield rows


def published(shape: TableShape, columns: Sequence[str]) -> str:
    """The query of the view that people ask: these columns, without the rows whose key is in quarantine."""
    query = f"SELECT {shown(columns)} FROM {stored_table(shape.name)} s"
    if not shape.history:
        return query
    same = " AND ".join(f"{column_of('q', name)} = {column_of('s', name)}" for name in shape.key)
    out = stored_table(f"{shape.name}_quarantine")
    return f"{query} WHERE NOT EXISTS (SELECT FROM {out} q WHERE {same})"


def shown(columns: Iterable[str]) -> str:
    """What views show of these columns: the raw batch that holds a row's bytes, also where it is its own."""
    return ", ".join(_SHOWN.get(name) or quoted(name) for name in columns)


_SHOWN = {"raw_batch": "coalesce(raw_batch, batch) AS raw_batch"}
"""A column that is stored with nulls → what a view shows in its place."""


def key_text(shape: TableShape) -> str:
    """The SQL expression of the natural key of row `s` as canonical JSON."""
    parts = [f"{literal(json.dumps(name) + ':')} || {_value_text(shape, name)}" for name in sorted(shape.key)]
    return "'{' || " + " || ',' || ".join(parts) + " || '}'"


def _value_text(shape: TableShape, name: str) -> str:
    if isinstance(shape.columns[name], pl.Datetime):
        return (
            f"""to_char({column_of("s", name)} AT TIME ZONE 'UTC', '"\\""YYYY-MM-DD"T"HH24:MI:SS.US"Z\\""')"""
        )
    if isinstance(shape.columns[name], pl.Decimal):
        return f"""'"' || {column_of("s", name)} || '"'"""
    return f"to_json({column_of('s', name)})::text"
