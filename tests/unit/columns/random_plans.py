"""Plans made at random from a seed: operations that fit the columns which are there."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

import polars as pl
from polars import col

Made = TypeVar("Made")
Step = Callable[[random.Random, pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]

INTEGERS = pl.selectors.by_dtype(pl.Int64)


def random_plan(seed: int, u: pl.LazyFrame, v: pl.LazyFrame) -> pl.LazyFrame:
    """The same operations for the same seed and schemas, whatever the data."""
    dice = random.Random(seed)  # noqa: S311
    frame = u.select("a", "b", "c", "s", "o", "l", "t") if dice.random() < 0.7 else u
    for _ in range(dice.randint(2, 6)):
        frame = dice.choice(STEPS)(dice, frame, v)
    return frame


def _numbers(dice: random.Random, frame: pl.LazyFrame, n: int = 1) -> list[str]:
    """Names of integer columns; `one` is added where there are none."""
    names = [name for name, dtype in frame.collect_schema().items() if dtype == pl.Int64]
    return [dice.choice(names or ["one"]) for _ in range(n)]


def _sure(frame: pl.LazyFrame) -> pl.LazyFrame:
    """With at least one column of whole numbers."""
    has = any(dtype == pl.Int64 for dtype in frame.collect_schema().values())
    return frame if has else frame.with_columns(one=pl.lit(1, pl.Int64))


def _any(dice: random.Random, frame: pl.LazyFrame) -> str:
    flat = [n for n, t in frame.collect_schema().items() if not t.is_nested()]
    return dice.choice(flat)


def _one_of(dice: random.Random, made: Sequence[Callable[[], Made]]) -> Made:
    """One of them; only that one is made, for a plan is built dozens of times."""
    return dice.choice(made)()


def expression(dice: random.Random, frame: pl.LazyFrame) -> pl.Expr:
    x, y, z = (col(name) for name in _numbers(dice, frame, 3))
    whole = _any(dice, frame)
    return _one_of(dice, [
        lambda: x + y,
        lambda: x * 2 - y,
        lambda: pl.when(x > 2).then(y).otherwise(z),
        lambda: x.fill_null(y),
        lambda: pl.coalesce(x, y),
        lambda: x.sum() + y,
        lambda: x.cum_sum(),
        lambda: x.shift(1),
        lambda: x.diff(),
        lambda: x.rank("ordinal").cast(pl.Int64),
        lambda: x.sum().over(whole),
        lambda: x.cum_sum().over(y, order_by=z),
        lambda: x.sort(),
        lambda: x.sort_by(y, maintain_order=True),
        lambda: x.reverse(),
        lambda: pl.max_horizontal(x, y, z),
        lambda: pl.struct(x.alias("p"), y.alias("q")).struct.field("q"),
        lambda: pl.concat_list(x, y).list.sum(),
        lambda: pl.concat_list(x, y).list.eval(pl.element() * 2).list.first(),
        lambda: x.filter(y > 2).sum(),
        lambda: x.gather(y.fill_null(0) % 2),
        lambda: x.max_by(y) + z,
        lambda: x.rle_id().cast(pl.Int64),
        lambda: x.is_in(y.implode()).cast(pl.Int64),
        lambda: x.cast(pl.String).cast(pl.Binary).bin.size().cast(pl.Int64) + y,
        lambda: x.replace({1: 3}),
        lambda: pl.lit(7, pl.Int64),
        lambda: pl.len().cast(pl.Int64),
        lambda: pl.int_range(pl.len()),
        lambda: (x + y).map_batches(lambda s: s * 2, return_dtype=pl.Int64),
    ])  # fmt: skip


def aggregate(dice: random.Random, frame: pl.LazyFrame) -> pl.Expr:
    x, y = (col(name) for name in _numbers(dice, frame, 2))
    return _one_of(dice, [
        lambda: x.sum(),
        lambda: x.max() - y.min(),
        lambda: x.first(),
        lambda: x.last(),
        lambda: x.n_unique().cast(pl.Int64),
        lambda: x.count().cast(pl.Int64),
        lambda: x.filter(y > 2).sum(),
        lambda: x.sort_by(y, maintain_order=True).first(),
        lambda: x.cum_sum().max(),
        lambda: x.max_by(y),
        lambda: pl.len().cast(pl.Int64),
    ])  # fmt: skip


def _with(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    frame = _sure(frame)
    return frame.with_columns(expression(dice, frame).alias(dice.choice(["a", "z", "y"])))


def _select(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    frame = _sure(frame)
    kept = [name for name in frame.collect_schema() if dice.random() < 0.6]
    made = expression(dice, frame).alias("made")
    return frame.select(*(name for name in kept if name != "made"), made)


def _whole(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    frame = _sure(frame)
    x, y, z = (col(name) for name in _numbers(dice, frame, 3))
    longer = dice.choice([
        x.filter(y > 2), x.unique(maintain_order=True), x.drop_nulls(), x.top_k(3), x.head(2),
        pl.arg_where(x > 2),
    ])  # fmt: skip
    return frame.select(made=longer.cast(pl.Int64), whole=z.sum(), n=pl.len().cast(pl.Int64))


def _filter(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    frame = _sure(frame)
    x, y = (col(name) for name in _numbers(dice, frame, 2))
    return frame.filter(dice.choice([x > 1, x >= y, x.is_not_null(), x == x.max(), pl.len() > 2]))


def _sort(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    return frame.sort(_any(dice, frame), descending=dice.random() < 0.5, maintain_order=True)


def _slice(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    return dice.choice([frame.head(5), frame.tail(5), frame.slice(1, 6), frame.gather_every(2)])


def _unique(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    keep = dice.choice(["first", "last", "none"])
    return frame.unique(_any(dice, frame), keep=keep, maintain_order=True)


def _group(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    frame = _sure(frame)
    key = _any(dice, frame)
    made = {f"m{i}": aggregate(dice, frame) for i in range(2)}
    grouped = frame.group_by(col(key).alias("a"), maintain_order=True)
    return dice.choice([grouped.agg(**made), frame.group_by(col(key).alias("a")).agg(**made).sort("a")])


def _join(dice: random.Random, frame: pl.LazyFrame, v: pl.LazyFrame) -> pl.LazyFrame:
    [key] = _numbers(dice, _sure(frame))
    how = dice.choice(["inner", "left", "right", "full", "semi", "anti"])
    other = v.select("a", "w") if dice.random() < 0.5 else v.filter(col("w") > 1).select("a", "w")
    suffix = f"_{dice.randint(0, 10**9)}"
    order = {"semi": "left", "anti": "left", "right": "right_left"}.get(how, "left_right")
    return _sure(frame).join(
        other,
        left_on=key,
        right_on="a",
        how=how,
        suffix=suffix,
        maintain_order=order,  # type: ignore[arg-type]
    )


def _concat(dice: random.Random, frame: pl.LazyFrame, v: pl.LazyFrame) -> pl.LazyFrame:
    if "extra" in frame.collect_schema() or dice.random() < 0.5:
        return pl.concat([frame, frame.head(3)])
    return pl.concat([frame, v.select(extra="w")], how="diagonal")


def _reshape(dice: random.Random, frame: pl.LazyFrame, _: pl.LazyFrame) -> pl.LazyFrame:
    frame = _sure(frame)
    x, y = _numbers(dice, frame, 2)
    schema = frame.collect_schema()
    options = [frame]
    if not {"variable", "value"} & set(schema):
        options.append(frame.unpivot([x], index=[name for name in schema if name != x]))
    if schema.get("l") == pl.List(pl.Int64):
        options.append(frame.explode("l"))
    if "index" not in schema:
        options.append(frame.with_row_index())
    if not {"p", "q", "pair"} & set(schema):
        options.append(frame.with_columns(pair=pl.struct(p=x, q=y)).unnest("pair"))
    return dice.choice(options)


def _by_place(dice: random.Random, frame: pl.LazyFrame, v: pl.LazyFrame) -> pl.LazyFrame:
    """Sorted, numbered, the number used, and summed up: nothing else is left of the order."""
    frame = _sort(dice, _sure(frame), v)
    x, y = (col(name) for name in _numbers(dice, frame, 2))
    number = dice.choice([pl.int_range(pl.len()), y.sort(), pl.row_index("place").cast(pl.Int64)])
    numbered = frame.with_columns(place=number)
    if dice.random() < 0.5:
        numbered = frame.with_row_index("place").with_columns(col("place").cast(pl.Int64))
    place = col("place")
    weights = v.select(place=pl.int_range(pl.len()), weight="w")
    return _one_of(dice, [
        lambda: numbered.filter(place < 4).select(a=x.sum(), b=y.max()),
        lambda: numbered.select(a=(x * place).sum(), b=y.max()),
        lambda: numbered.group_by(place // 3).agg(a=x.sum()).select(col("a").max()),
        lambda: numbered.select(a=x.sum().over(place // 3).max()),
        lambda: numbered.join(weights, on="place").select(a=(x * col("weight")).sum()),
    ])  # fmt: skip


STEPS: list[Step] = [
    _with, _with, _select, _whole, _filter, _filter, _sort, _slice, _unique, _group, _join, _join, _concat,
    _reshape, _by_place,
]  # fmt: skip
