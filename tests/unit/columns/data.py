"""Two small data sets, and how to change one column of one of them."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import polars as pl

START = datetime(2026, 1, 1)  # noqa: DTZ001
ROWS = 12

Frames = dict[str, pl.DataFrame]


@lru_cache(maxsize=8)
def frames(seed: int = 1) -> Frames:
    """To be read only. `u` has a column of every kind; `v` shares a, s and t with it. t is sorted in both."""
    dice = random.Random(seed)  # noqa: S311
    u = {name: values(name, dice) for name in ("a", "b", "c", "f", "s", "o", "l", "t", "st", "j")}
    v = {name: values(name, dice) for name in ("a", "s", "w", "t")}
    return {"u": pl.DataFrame(u, strict=False), "v": pl.DataFrame(v, strict=False)}


def values(name: str, dice: random.Random) -> pl.Series:
    """Random values of the kind that column `name` has."""

    def number() -> int | None:
        return None if dice.random() < 0.1 else dice.randint(1, 4)

    made: list[Any]
    if name == "t":
        steps = [timedelta(hours=dice.randint(1, 9)) for _ in range(ROWS)]
        made = [START + sum(steps[:i], timedelta()) for i in range(ROWS)]
        return pl.Series(name, made, pl.Datetime("us"))
    if name == "l":
        made = [[dice.randint(1, 4) for _ in range(dice.randint(1, 3))] for _ in range(ROWS)]
        return pl.Series(name, made, pl.List(pl.Int64))
    if name == "st":
        return pl.Series(name, [{"p": dice.randint(1, 4), "q": dice.randint(1, 4)} for _ in range(ROWS)])
    if name == "s":
        return pl.Series(name, [dice.choice("xyz") for _ in range(ROWS)], pl.String)
    if name == "o":
        return pl.Series(name, [dice.random() < 0.5 for _ in range(ROWS)], pl.Boolean)
    if name == "j":
        return pl.Series(name, [f'{{"k":{dice.randint(1, 4)}}}' for _ in range(ROWS)], pl.String)
    if name == "f":
        return pl.Series(name, [dice.randint(1, 8) / 4 for _ in range(ROWS)], pl.Float64)
    return pl.Series(name, [number() for _ in range(ROWS)], pl.Int64)


@cache
def other_values(name: str, seed: int) -> pl.Series:
    return values(name, random.Random(seed * 7919 + 13))  # noqa: S311


def changed(frame: pl.DataFrame, name: str, seed: int) -> pl.DataFrame:
    """`frame` with other values in one column."""
    return frame.clone().replace_column(frame.columns.index(name), other_values(name, seed))


@lru_cache(maxsize=8)
def all_changed(seed: int, changes: int) -> tuple[tuple[str, str, pl.LazyFrame], ...]:
    """(dataset, column, that dataset of `frames(seed)` with other values there), so often for each column."""
    return tuple(_all_changed(frames(seed), changes))


def _all_changed(data: Frames, changes: int) -> Iterator[tuple[str, str, pl.LazyFrame]]:
    for dataset, frame in data.items():
        for name in frame.columns:
            for number in range(changes):
                yield dataset, name, changed(frame, name, number).lazy()
