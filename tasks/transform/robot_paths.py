"""JSON paths of a robot's answers, as lineage calls what Python reads in them and no plan shows.

`runs.…`, `commands.…` and `protocols.…` are paths within `data` of the answers to `/runs/{id}`,
`/runs/{id}/commands` (each item) and `/protocols/{id}`; `commands.meta.…` stands beside the items. A path
goes through a list as through an object: `runs.pipettes.mount`.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import polars as pl

from lineage.columns import named

Paths: TypeAlias = Mapping[str, Sequence[str]]
"""Column → the paths that its value is found in."""


def frame_of(source: str, columns: Paths) -> pl.LazyFrame:
    """The empty plan of a frame that Python makes of these paths in `source` (a URI)."""
    paths = dict.fromkeys((path for each in columns.values() for path in each), pl.String())
    there = named(pl.LazyFrame(schema=paths), source)
    return there.select(value_of(each, pl.String()).alias(name) for name, each in columns.items())


def value_of(paths: Sequence[str], dtype: pl.DataType) -> pl.Expr:
    """A text that stands in this path; or what Python makes of these paths, in a way that no plan shows."""
    if len(paths) == 1 and dtype == pl.String:
        return pl.col(paths[0])
    return pl.map_batches(paths, _hidden, return_dtype=dtype)


def _hidden(_: Sequence[pl.Series]) -> pl.Series:
    raise NotImplementedError("a plan of lineage is never run")
