"""Two small data sets, and how to change one column of one of them."""

import random
from datetime import datetime, timedelta
from typing import Any

import polars as pl

START = datetime(2026, 1, 1)  # noqa: DTZ001
ROWS = 12

Frames = dict[str, pl.DataFrame]


def frames(seed: int = 1) -> Frames:
    """`u` has a column of every kind; `v` shares a, s and t with it. t is sorted in both."""
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


def changed(data: Frames, dataset: str, name: str, seed: int) -> Frames:
    """`data` with other values in one column."""
    other = values(name, random.Random(seed * 7919 + 13))  # noqa: S311
    return {**data, dataset: data[dataset].with_columns(other.alias(name))}
