"""How a frame in a plan gets the name of its dataset.

A name is a column of one constant, added and dropped at once: the plan shows it, the optimiser removes
it, and it costs nothing when the query runs. Neither `id(frame)` nor the address of a buffer would do:
the plan holds a copy of the first, and a renamed or sliced frame shares the second.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import polars as pl

MARK = "__headwater_dataset"


def named(frame: pl.LazyFrame, uri: str) -> pl.LazyFrame:
    """The same frame, known to `trace` as dataset `uri`: lineage of what follows starts here."""
    return frame.with_columns(pl.lit(uri).alias(MARK)).drop(MARK)


def collected(frame: pl.LazyFrame, uri: str) -> pl.DataFrame:
    """Run `frame`; the result's `lazy()` is named `uri`, so that data that re-enters keeps its name.

    The name belongs to this very frame as it was collected. An eager operation makes another frame,
    without a name: it reads less than it was, and calling it the same would be a guess. A change in
    place takes the name away for the same reason.
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

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "columns":
            self._dataset = None
        super().__setattr__(name, value)


def _unnaming(method: Callable[..., Any], always: bool) -> Callable[..., Any]:
    """The method of a frame, after which the frame is not what was collected."""

    @wraps(method)
    def changing(self: _NamedFrame, *args: Any, **options: Any) -> Any:
        if options.get("in_place", always):
            self._dataset = None
        return method(self, *args, **options)

    return changing


for _name in ("__setitem__", "drop_in_place", "extend", "insert_column", "replace_column"):
    setattr(_NamedFrame, _name, _unnaming(getattr(pl.DataFrame, _name), always=True))
for _name in ("hstack", "vstack"):
    setattr(_NamedFrame, _name, _unnaming(getattr(pl.DataFrame, _name), always=False))


def mark_of(node: Any, view: Any) -> str | None:
    """The name that a plan's node gives, if it is a name; `view` reads an expression by its number."""
    if type(node).__name__ != "HStack":
        return None
    expressions = node.exprs
    if len(expressions) != 1 or expressions[0].output_name != MARK:
        return None
    return str(view(expressions[0].node).value)
