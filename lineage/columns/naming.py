"""How a frame in a plan gets the name of its dataset.

A name is a column of one constant, added and dropped at once: the plan shows it, the optimiser removes
it, and it costs nothing when the query runs. Neither `id(frame)` nor the address of a buffer would do:
the plan holds a copy of the first, and a renamed or sliced frame shares the second.
"""

from typing import Any

import polars as pl

MARK = "__headwater_dataset"


def named(frame: pl.LazyFrame, uri: str) -> pl.LazyFrame:
    """The same frame, known to `trace` as dataset `uri`: lineage of what follows starts here."""
    return frame.with_columns(pl.lit(uri).alias(MARK)).drop(MARK)


def collected(frame: pl.LazyFrame, uri: str) -> pl.DataFrame:
    """Run `frame`; the result's `lazy()` is named `uri`, so that data that re-enters keeps its name.

    The name belongs to this very frame. An eager operation makes another frame, without a name: it
    reads less than it was, and calling it the same would be a guess.
    """
    made = _NamedFrame(frame.collect())
    made._dataset = uri
    return made


class _NamedFrame(pl.DataFrame):
    """A frame in memory that knows which dataset it is."""

    _dataset: str | None = None  # Polars makes the results of eager operations of this class, too

    def lazy(self) -> pl.LazyFrame:
        frame = super().lazy()
        return frame if self._dataset is None else named(frame, self._dataset)


def mark_of(node: Any, view: Any) -> str | None:
    """The name that a plan's node gives, if it is a name; `view` reads an expression by its number."""
    if type(node).__name__ != "HStack":
        return None
    expressions = node.exprs
    if len(expressions) != 1 or expressions[0].output_name != MARK:
        return None
    return str(view(expressions[0].node).value)
