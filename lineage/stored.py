"""Row counts and value sums of stored tables, computed again from what Postgres holds now.

Rows are read in chunks and never kept; what is kept is one count and one sum per batch or hour.
"""

import json
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import polars as pl

from .digest import row_hashes, signed
from .identifiers import column_of, listed, literal, quoted, stored_table
from .ports import Connection

CHUNK = 20_000
"""Rows read at a time."""

Columns = Mapping[str, pl.DataType]
"""Names and Polars types, in the order in which they are hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """A stored table as the record sees it.

    `columns`, then `origin`, are hashed; `earlier` are columns of versions before: rows written under one
    were hashed without the columns that came later, and must hold nulls there.
    """

    name: str
    columns: Columns
    key: tuple[str, ...]
    time: str
    kind: Literal["append", "revise", "recompute"]
    origin: Columns = field(default_factory=dict)  # where a row came from, the same in every version
    earlier: tuple[Columns, ...] = ()

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
        columns = (*_types(self), "batch")
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


@dataclass(frozen=True, slots=True)
class Held:
    """What is stored: the number of rows, and their value sum under each version of the columns."""

    rows: int
    sums: tuple[int, ...]


async def chunks(
    connection: Connection, query: str, *args: Any, size: int = CHUNK
) -> AsyncIterator[Sequence[Any]]:
    """The rows of a query, `size` at a time, through a cursor of the open transaction."""
    cursor = await connection.cursor(query, *args)
    while rows := await cursor.fetch(size):
        yield rows


async def by_batch(connection: Connection, shape: TableShape, first: int, end: int) -> dict[int, Held]:
    """What is stored of each batch in first ≤ batch < end."""
    sums, selected = _Sums(shape), _selected(shape)
    for table in shape.tables:
        query = f"SELECT batch, {selected} FROM {stored_table(table)} WHERE batch >= $1 AND batch < $2"
        async for rows in chunks(connection, query, first, end):
            sums.add([row["batch"] for row in rows], rows)
    return sums.held()


async def by_hour(
    connection: Connection, shape: TableShape, hours: Sequence[datetime] | None = None
) -> dict[tuple[datetime, int], Held]:
    """What is stored of each hour, by the batch that wrote it; of all hours if none are given."""
    time, sums = quoted(shape.time), _Sums(shape)
    hour = f"date_trunc('hour', {time}, 'UTC')"
    query = f'SELECT batch, {hour} AS "its hour", {_selected(shape)} FROM {stored_table(shape.name)}'
    if hours is not None:
        query += f" WHERE {time} >= $1 AND {time} < $2::timestamptz + interval '1 hour'"
        query += f" AND {hour} = ANY($3::timestamptz[])"
    args = [] if hours is None else [min(hours), max(hours), list(hours)]
    async for rows in chunks(connection, query, *args):
        sums.add([(row["its hour"], row["batch"]) for row in rows], rows)
    return sums.held()


def _selected(shape: TableShape) -> str:
    return listed(_types(shape))


def _types(shape: TableShape) -> dict[str, pl.DataType]:
    columns = {name: type_ for version in shape.versions for name, type_ in version.items()}
    return {**columns, **shape.origin}


def published(shape: TableShape, columns: Sequence[str]) -> str:
    """The query of the view that people ask: these columns, without the rows whose key is in quarantine."""
    shown = ", ".join(f'"{name}"' for name in columns)
    query = f"SELECT {shown} FROM {stored_table(shape.name)} s"
    if not shape.history:
        return query
    same = " AND ".join(f'q."{name}" = s."{name}"' for name in shape.key)
    out = stored_table(f"{shape.name}_quarantine")
    return f"{query} WHERE NOT EXISTS (SELECT FROM {out} q WHERE {same})"


def key_text(shape: TableShape) -> str:
    """The SQL expression of the natural key of row `s` as canonical JSON."""
    parts = [f"{literal(json.dumps(name) + ':')} || {_value_text(shape, name)}" for name in sorted(shape.key)]
    return "'{' || " + " || ',' || ".join(parts) + " || '}'"


def _value_text(shape: TableShape, name: str) -> str:
    if isinstance(shape.columns[name], pl.Datetime):
        return (
            f"""to_char({column_of("s", name)} AT TIME ZONE 'UTC', '"\\""YYYY-MM-DD"T"HH24:MI:SS.US"Z\\""')"""
        )
    return f"to_json({column_of('s', name)})::text"


class _Sums:
    """Counts and sums per group, chunk by chunk."""

    def __init__(self, shape: TableShape) -> None:
        self._shape = shape
        self._types = _types(shape)
        self._totals: dict[Hashable, list[int]] = {}  # group → rows, then low and high half per version

    def add(self, groups: Sequence[Hashable], rows: Sequence[Any]) -> None:
        """Add rows, each with its group."""
        known: dict[Hashable, int] = {}
        numbers = [known.setdefault(group, len(known)) for group in groups]
        frame = pl.DataFrame(
            {name: pl.Series([row[name] for row in rows], dtype=type_) for name, type_ in self._types.items()}
        )
        hashes = {f"h{i}": self._hashes(frame, version) for i, version in enumerate(self._shape.versions)}
        halves = [
            half
            for name in hashes
            for half in (
                (pl.col(name) & 0xFFFFFFFF).sum().alias(f"{name}low"),
                (pl.col(name) // (1 << 32)).sum().alias(f"{name}high"),
            )
        ]
        summed = pl.DataFrame({"group": numbers, **hashes}).group_by("group").agg(pl.len(), *halves)
        names = list(known)
        for number, *parts in summed.iter_rows():
            totals = self._totals.setdefault(names[number], [0] * len(parts))
            for i, part in enumerate(parts):
                totals[i] += part

    def _hashes(self, frame: pl.DataFrame, version: Columns) -> pl.Series:
        hashes = row_hashes(frame, [*version, *self._shape.origin])
        later = [
            pl.col(name).is_not_null()
            for name in self._types
            if name not in version and name not in self._shape.origin
        ]
        if not later:
            return hashes
        # A value in a column that this version did not have must not go unseen.
        return hashes + frame.select(pl.any_horizontal(later).cast(pl.Int64)).to_series()

    def held(self) -> dict[Any, Held]:
        return {
            group: Held(rows, tuple(signed(low + (high << 32)) for low, high in _pairs(halves)))
            for group, (rows, *halves) in self._totals.items()
        }


def _pairs(values: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(values[::2], values[1::2], strict=True))
