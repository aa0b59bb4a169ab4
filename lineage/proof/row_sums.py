"""Sums of row hashes per group: what the ledger recorded of a commit's rows before there were digests.

Weaker: who can change Postgres can change a row and solve its `input_hash` so that the hash stays the same.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import polars as pl

from ..digest import row_hashes, signed
from ..stored import Columns, TableShape


class RowSums:
    """Counts and sums per group, chunk by chunk."""

    def __init__(self, shape: TableShape) -> None:
        self._shape = shape
        self._types = shape.every_column
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

    def held(self) -> dict[Any, tuple[int, ...]]:
        return {
            group: tuple(signed(low + (high << 32)) for low, high in _pairs(halves))
            for group, (_, *halves) in self._totals.items()
        }


def _pairs(values: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(values[::2], values[1::2], strict=True))
