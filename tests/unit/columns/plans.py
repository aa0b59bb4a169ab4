"""Plans with their lineage as a person would write it down.

A source is `a` (column a of dataset u), `v.a`, or `u.` for the rows or a constant of u alone. `direct` is
what each output is made from; `rows` what decides all outputs; `also` what else decides one output.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl
from polars import col

Build = Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]


@dataclass(frozen=True)
class Expected:
    build: Build
    direct: dict[str, str]
    rows: str = ""
    also: dict[str, str] = field(default_factory=dict)
    python: bool = False


def same(*names: str, dataset: str = "u") -> dict[str, str]:
    """Columns that come through as they are."""
    return {name: name if dataset == "u" else f"{dataset}.{name}" for name in names}


def in_order(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.sort("f", maintain_order=True)


def halved(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Every other row is of the other half, whatever its values."""
    return frame.with_row_index("half").with_columns(col("half") % 2)


U = same("a", "b", "c", "f", "s", "o", "l", "t", "st", "j")
RIGHT = {"a_right": "v.a", "s_right": "v.s", "w": "v.w", "t_right": "v.t"}
K = "s"

PLANS: dict[str, Expected] = {
    # columns
    "select": Expected(lambda u, v: u.select("a", "b"), same("a", "b")),
    "rename": Expected(lambda u, v: u.select("a", "b").rename({"a": "z"}), {"z": "a", "b": "b"}),
    "drop": Expected(lambda u, v: u.drop("l", "st", "j"), same(*"abcfsot")),
    "swap": Expected(lambda u, v: u.select(a="b", b="a"), {"a": "b", "b": "a"}),
    "overwrite": Expected(
        lambda u, v: u.with_columns(a=col("b") + 1).select("a", c=col("a") * 2), {"a": "b", "c": "b"}
    ),
    "parallel": Expected(lambda u, v: u.select("a", "b").with_columns(a="b", b="a"), {"a": "b", "b": "a"}),
    "arithmetic": Expected(lambda u, v: u.select(z=col("a") + col("b") * 2), {"z": "a b"}),
    "literal": Expected(lambda u, v: u.select("a", z=pl.lit(1)), {"a": "a", "z": "u."}),
    "literal series": Expected(lambda u, v: u.select(z=pl.lit(pl.Series([1, 2]))), {"z": "u."}),
    "literal arithmetic": Expected(lambda u, v: u.select("a", z=pl.lit(1) + 2), {"a": "a", "z": "u."}),
    "cast": Expected(lambda u, v: u.cast({"a": pl.Float32}).select("a", "b"), same("a", "b")),
    "selectors": Expected(lambda u, v: u.select(pl.selectors.integer() + 1), same("a", "b", "c")),
    "exclude": Expected(lambda u, v: u.select(pl.exclude("l", "st", "j", "t")), same(*"abcfso")),
    "prefix": Expected(lambda u, v: u.select(col("a", "b").name.prefix("x_")), {"x_a": "a", "x_b": "b"}),
    "with_columns_seq": Expected(
        lambda u, v: u.select("a", "b").with_columns_seq(z=col("a")), {**same("a", "b"), "z": "a"}
    ),
    "sql": Expected(
        lambda u, v: u.sql("select a, b + c as z from self where f > 1"), {"a": "a", "z": "b c"}, "f"
    ),
    "sql expression": Expected(lambda u, v: u.select(z=pl.sql_expr("a + b")), {"z": "a b"}),
    # conditions
    "when": Expected(
        lambda u, v: u.select(z=pl.when(col("a") > 2).then("b").otherwise("c")), {"z": "b c"}, also={"z": "a"}
    ),
    "when chain": Expected(
        lambda u, v: u.select(z=pl.when("o").then("b").when(col("a") > 2).then("c").otherwise(0)),
        {"z": "b c"},
        also={"z": "a o"},
    ),
    "when constants": Expected(
        lambda u, v: u.select(z=pl.when("o").then(pl.lit("yes")).otherwise(pl.lit("no"))),
        {"z": "u."},
        also={"z": "o"},
    ),
    "coalesce": Expected(lambda u, v: u.select(z=pl.coalesce("a", "b", 0)), {"z": "a b"}),
    "fill_null": Expected(lambda u, v: u.select(z=col("a").fill_null(col("b"))), {"z": "a b"}),
    "clip": Expected(lambda u, v: u.select(z=col("a").clip(1, col("b"))), {"z": "a b"}),
    "replace": Expected(lambda u, v: u.select(z=col("a").replace({1: 9})), {"z": "a"}),
    "replace_strict": Expected(
        lambda u, v: u.select(z=col("a").replace_strict({1: 9}, default=col("b"))), {"z": "a b"}
    ),
    "is_in": Expected(lambda u, v: u.select(z=col("a").is_in([1, 2])), {"z": "a"}),
    "is_between": Expected(lambda u, v: u.select(z=col("a").is_between(col("b"), col("c"))), {"z": "a b c"}),
    # across columns
    "max_horizontal": Expected(lambda u, v: u.select(z=pl.max_horizontal("a", "b")), {"z": "a b"}),
    "sum_horizontal": Expected(lambda u, v: u.select(z=pl.sum_horizontal("a", "b", "c")), {"z": "a b c"}),
    "concat_str": Expected(lambda u, v: u.select(z=pl.concat_str("s", "a")), {"z": "s a"}),
    "format": Expected(lambda u, v: u.select(z=pl.format("{}-{}", "a", "s")), {"z": "a s"}),
    "concat_list": Expected(lambda u, v: u.select(z=pl.concat_list("a", "b")), {"z": "a b"}),
    "datetime": Expected(lambda u, v: u.select(z=pl.datetime(2026, "b", 1)), {"z": "b"}),
    "duration": Expected(lambda u, v: u.select(z=col("t") + pl.duration(hours="a")), {"z": "t a"}),
    # text, times, lists, structs
    "text": Expected(lambda u, v: u.select(z=col("s").str.to_uppercase().str.head(1)), {"z": "s"}),
    "json_decode": Expected(
        lambda u, v: u.select(z=col("j").str.json_decode(pl.Struct({"k": pl.Int64})).struct.field("k")),
        {"z": "j"},
    ),
    "json_path": Expected(lambda u, v: u.select(z=col("j").str.json_path_match("$.k")), {"z": "j"}),
    "times": Expected(
        lambda u, v: u.select(z=col("t").dt.truncate("1d"), h=col("t").dt.hour()), {"z": "t", "h": "t"}
    ),
    "dt.replace": Expected(lambda u, v: u.select(z=col("t").dt.replace(hour=col("a"))), {"z": "t a"}),
    "list functions": Expected(
        lambda u, v: u.select(z=col("l").list.sum(), g=col("l").list.get(col("a") - 1, null_on_oob=True)),
        {"z": "l", "g": "l a"},
    ),
    "list.eval": Expected(
        lambda u, v: u.select("a", z=col("l").list.eval(pl.element() + 1)), {"a": "a", "z": "l"}
    ),
    "list.eval after filter": Expected(
        lambda u, v: u.filter("o").select("a", z=col("l").list.eval(pl.element() + 1)),
        {"a": "a", "z": "l"},
        "o",
    ),
    "binary": Expected(
        lambda u, v: u.select("a", z=col("s").cast(pl.Binary).bin.size()), {"a": "a", "z": "s"}
    ),
    "categorical": Expected(
        lambda u, v: u.select("a", z=col("s").cast(pl.Categorical).cat.len_chars()), {"a": "a", "z": "s"}
    ),
    "struct field": Expected(lambda u, v: u.select(z=col("st").struct.field("p")), {"z": "st"}),
    "struct made": Expected(lambda u, v: u.select(z=pl.struct("a", "b")), {"z": "a b"}),
    "struct made, field": Expected(
        lambda u, v: u.select(z=pl.struct("a", "b")).select(y=col("z").struct.field("b")), {"y": "b"}
    ),
    "struct made, unnest": Expected(
        lambda u, v: u.select("s", z=pl.struct("a", y=col("b") + col("c"))).unnest("z"),
        {"s": "s", "a": "a", "y": "b c"},
    ),
    "unnest": Expected(lambda u, v: u.select("a", "st").unnest("st"), {"a": "a", "p": "st", "q": "st"}),
    "unnest separator": Expected(
        lambda u, v: u.select("a", "st").unnest("st", separator="."), {"a": "a", "st.p": "st", "st.q": "st"}
    ),
    "struct rename": Expected(
        lambda u, v: u.select(z=pl.struct("a", "b").struct.rename_fields(["x", "y"])).unnest("z"),
        {"x": "a", "y": "b"},
    ),
    "struct with_fields": Expected(
        lambda u, v: u.select(z=col("st").struct.with_fields(r=pl.field("p") + col("a"))), {"z": "st a"}
    ),
    "struct with_fields, field": Expected(
        lambda u, v: u.select(z=pl.struct("a", "b").struct.with_fields(r=col("c"))).unnest("z"),
        {"a": "a", "b": "b", "r": "c"},
    ),
    "struct encode": Expected(
        lambda u, v: u.select(z=pl.struct("a", "b").struct.json_encode()), {"z": "a b"}
    ),
    # rows
    "filter": Expected(lambda u, v: u.filter(col("a") > 2).select("b", "s"), same("b", "s"), "a"),
    "filter twice": Expected(lambda u, v: u.filter(col("a") > 1).filter("o").select("b"), same("b"), "a o"),
    "filter made": Expected(
        lambda u, v: u.with_columns(z=col("a") + col("b")).filter(col("z") > 3).select("c"), same("c"), "a b"
    ),
    "remove": Expected(lambda u, v: u.remove(col("a") > 2).select("b"), same("b"), "a"),
    "drop_nulls": Expected(lambda u, v: u.drop_nulls(["a", "b"]).select("c"), same("c"), "a b"),
    "sort": Expected(lambda u, v: u.sort("a", "b", maintain_order=True).select("c"), same("c"), "a b"),
    "sort expression": Expected(
        lambda u, v: u.sort(col("a") + col("b"), maintain_order=True).select("c"), same("c"), "a b"
    ),
    "head": Expected(lambda u, v: u.head(3).select("a"), same("a")),
    "tail": Expected(lambda u, v: u.tail(3).select("a"), same("a")),
    "sort, head": Expected(lambda u, v: u.sort("a", maintain_order=True).head(3).select("b"), same("b"), "a"),
    "top_k": Expected(lambda u, v: u.select("a", "b").top_k(3, by="b"), same("a", "b"), "b"),
    "bottom_k": Expected(lambda u, v: u.select("a", "b").bottom_k(3, by=["b", "a"]), same("a", "b"), "a b"),
    "unique": Expected(
        lambda u, v: u.unique("a", keep="first", maintain_order=True).select("a", "b"), same("a", "b"), "a"
    ),
    "unique all": Expected(
        lambda u, v: u.select("a", "b").unique(maintain_order=True), same("a", "b"), "a b"
    ),
    "unique none": Expected(
        lambda u, v: u.unique("a", keep="none", maintain_order=True).select("b"), same("b"), "a"
    ),
    "reverse": Expected(lambda u, v: u.select("a", "b").reverse(), same("a", "b")),
    "shift": Expected(lambda u, v: u.select("a", "b").shift(1), same("a", "b")),
    "gather": Expected(lambda u, v: u.select("a", "b").gather([0, 2]), same("a", "b")),
    "gather_every": Expected(lambda u, v: u.select("a", "b").gather_every(2), same("a", "b")),
    "interpolate": Expected(lambda u, v: u.select("a", "f").interpolate(), same("a", "f")),
    "row index": Expected(lambda u, v: u.select("a").with_row_index(), {"index": "u.", "a": "a"}),
    "row index, filter": Expected(
        lambda u, v: u.filter("o").select("a").with_row_index(), {"index": "u.", "a": "a"}, "o"
    ),
    "explode": Expected(lambda u, v: u.select("a", "l").explode("l"), same("a", "l"), "l"),
    "unpivot": Expected(
        lambda u, v: u.unpivot(["a", "b"], index="s"), {"s": "s", "variable": "u.", "value": "a b"}
    ),
    "pivot": Expected(
        lambda u, v: u.pivot(
            "s", on_columns=["x", "y"], index="c", values="b", aggregate_function="sum"
        ).sort("c"),
        {"c": "c", "x": "b", "y": "b"},
        "c",
        {"x": "s", "y": "s"},
    ),
    "cache": Expected(lambda u, v: u.select("a").cache(), same("a")),
    "set_sorted": Expected(lambda u, v: u.select("a", "t").set_sorted("t"), same("a", "t")),
    # whole columns
    "sum": Expected(lambda u, v: u.select(z=col("a").sum(), y=col("b").mean()), {"z": "a", "y": "b"}),
    "frame sum": Expected(lambda u, v: u.select("a", "b").sum(), same("a", "b")),
    "frame null_count": Expected(lambda u, v: u.select("a", "b").null_count(), same("a", "b")),
    "len": Expected(lambda u, v: u.select(pl.len()), {"len": "u."}),
    "len after filter": Expected(lambda u, v: u.filter("o").select(pl.len()), {"len": "u."}, "o"),
    "share": Expected(lambda u, v: u.select(z=col("a") / col("a").sum()), {"z": "a"}),
    "share of rows": Expected(lambda u, v: u.select(z=col("a") / pl.len()), {"z": "a"}),
    "sum after sort": Expected(lambda u, v: u.sort("b").select(z=col("a").sum()), {"z": "a"}),
    "first after sort": Expected(
        lambda u, v: u.sort("b", maintain_order=True).select(z=col("a").first()), {"z": "a"}, also={"z": "b"}
    ),
    "sum, broadcast": Expected(lambda u, v: u.select("b", z=col("a").sum()), {"b": "b", "z": "a"}),
    "filter in expression": Expected(
        lambda u, v: u.select(z=col("a").filter(col("b") > 2).sum()), {"z": "a"}, also={"z": "b"}
    ),
    "filter, broadcast": Expected(
        lambda u, v: u.select(z=col("a").filter(col("b") > 2), y=col("c").sum()), {"z": "a", "y": "c"}, "b"
    ),
    "unique values": Expected(lambda u, v: u.select(z=col("a").unique(maintain_order=True)), {"z": "a"}, "a"),
    "value_counts": Expected(
        lambda u, v: u.select(z=col("a").value_counts(sort=True).struct.field("count")), {"z": "a"}, "a"
    ),
    "mode": Expected(lambda u, v: u.select(z=col("a").mode().sort()), {"z": "a"}, "a"),
    "sort_by": Expected(
        lambda u, v: u.select(z=col("a").sort_by("b", maintain_order=True)), {"z": "a"}, also={"z": "b"}
    ),
    "sort one column": Expected(lambda u, v: u.select("b", z=col("a").sort()), {"b": "b", "z": "a"}),
    "arg_sort": Expected(lambda u, v: u.select(z=col("a").arg_sort()), {"z": "a"}),
    "gather by column": Expected(
        lambda u, v: u.select(z=col("a").gather(col("b").fill_null(0))), {"z": "a"}, also={"z": "b"}
    ),
    "get": Expected(lambda u, v: u.select(z=col("a").get(2)), {"z": "a"}),
    "max_by": Expected(lambda u, v: u.select(z=col("a").max_by("f")), {"z": "a"}, also={"z": "f"}),
    "top_k expression": Expected(lambda u, v: u.select(z=col("a").top_k(3)), {"z": "a"}),
    "top_k_by": Expected(lambda u, v: u.select(z=col("a").top_k_by("f", 3)), {"z": "a"}, also={"z": "f"}),
    "quantile": Expected(lambda u, v: u.select(z=col("f").quantile(0.5)), {"z": "f"}),
    "corr": Expected(lambda u, v: u.select(z=pl.corr("f", "b")), {"z": "f b"}),
    "any": Expected(lambda u, v: u.select(z=col("o").any()), {"z": "o"}),
    "rle": Expected(lambda u, v: u.select(z=col("a").rle()), {"z": "a"}, "a"),
    "rle_id": Expected(lambda u, v: u.select("b", z=col("a").rle_id()), {"b": "b", "z": "a"}),
    "rank": Expected(lambda u, v: u.select("b", z=col("a").rank()), {"b": "b", "z": "a"}),
    "cut": Expected(lambda u, v: u.select(z=col("a").hist(bins=[0, 2, 4])), {"z": "a"}, "a"),
    "search_sorted": Expected(lambda u, v: u.select(z=col("a").sort().search_sorted(2)), {"z": "a"}),
    "int_range": Expected(lambda u, v: u.select("a", z=pl.int_range(pl.len())), {"a": "a", "z": "u."}),
    "cum_sum": Expected(lambda u, v: u.select(z=col("a").cum_sum()), {"z": "a"}),
    "cum_sum after sort": Expected(
        lambda u, v: u.sort("b", maintain_order=True).select(z=col("a").cum_sum().max()),
        {"z": "a"},
        also={"z": "b"},
    ),
    "diff": Expected(lambda u, v: u.select("b", z=col("a").diff()), {"b": "b", "z": "a"}),
    "rolling_mean": Expected(lambda u, v: u.select(z=col("a").rolling_mean(3)), {"z": "a"}),
    "rolling_sum_by": Expected(
        lambda u, v: u.select(z=col("a").rolling_sum_by("t", "6h")), {"z": "a"}, also={"z": "t"}
    ),
    "ewm_mean": Expected(lambda u, v: u.select(z=col("a").ewm_mean(com=1)), {"z": "a"}),
    "forward_fill": Expected(lambda u, v: u.select(z=col("a").forward_fill()), {"z": "a"}),
    "interpolate_by": Expected(lambda u, v: u.select(z=col("a").interpolate_by("t")), {"z": "a t"}),
    "reshape": Expected(lambda u, v: u.select(z=col("a").reshape((6, 2))), {"z": "a"}),
    "explode expression": Expected(lambda u, v: u.select(z=col("l").explode()), {"z": "l"}, "l"),
    # windows
    "over": Expected(lambda u, v: u.select(z=col("a").sum().over("s")), {"z": "a"}, also={"z": "s"}),
    "over two": Expected(
        lambda u, v: u.select("b", z=col("a").max().over("s", "o")), {"b": "b", "z": "a"}, also={"z": "s o"}
    ),
    "over ordered": Expected(
        lambda u, v: u.select(z=col("a").first().over("s", order_by="f")), {"z": "a"}, also={"z": "s f"}
    ),
    "over rank": Expected(lambda u, v: u.select(z=col("a").rank().over("s")), {"z": "a"}, also={"z": "s"}),
    "len over": Expected(lambda u, v: u.select(z=pl.len().over("s")), {"z": "u."}, also={"z": "s"}),
    "over filtered on": Expected(
        lambda u, v: u.filter(col("a") == col("a").max().over("s")).select("b"), same("b"), "a s"
    ),
    "rolling expression": Expected(
        lambda u, v: u.select(z=col("a").sum().rolling("t", period="6h")), {"z": "a"}, also={"z": "t"}
    ),
    # groups
    "group_by": Expected(
        lambda u, v: u.group_by("s", maintain_order=True).agg(z=col("a").sum()), {"s": "s", "z": "a"}, "s"
    ),
    "group_by two": Expected(
        lambda u, v: u.group_by("s", "o").agg(z=col("a").mean(), n=pl.len()).sort("s", "o"),
        {"s": "s", "o": "o", "z": "a", "n": "u."},
        "s o",
    ),
    "group_by expression": Expected(
        lambda u, v: u.group_by(k=col("a") % 2, maintain_order=True).agg(z=col("b").max()),
        {"k": "a", "z": "b"},
        "a",
    ),
    "group_by filter": Expected(
        lambda u, v: u.group_by("s", maintain_order=True).agg(z=col("a").filter("o").sum()),
        {"s": "s", "z": "a"},
        "s",
        {"z": "o"},
    ),
    "group_by sort_by": Expected(
        lambda u, v: u.group_by("s", maintain_order=True).agg(z=col("a").sort_by("f").last()),
        {"s": "s", "z": "a"},
        "s",
        {"z": "f"},
    ),
    "group_by ratio": Expected(
        lambda u, v: u.group_by("s", maintain_order=True).agg(z=col("a").sum() / col("b").sum()),
        {"s": "s", "z": "a b"},
        "s",
    ),
    "group_by list": Expected(
        lambda u, v: u.group_by("s", maintain_order=True).agg("a"), {"s": "s", "a": "a"}, "s"
    ),
    "group_by head": Expected(
        lambda u, v: u.select("s", "a").group_by("s", maintain_order=True).head(1), same("s", "a"), "s"
    ),
    "group_by after sort": Expected(
        lambda u, v: (
            u.sort("f", maintain_order=True).group_by("s").agg(z=col("a").first(), y=col("b").sum()).sort("s")
        ),
        {"s": "s", "z": "a", "y": "b"},
        "s",
        {"z": "f"},
    ),
    "having": Expected(
        lambda u, v: u.group_by("s", maintain_order=True).agg(z=col("a").sum()).filter(col("z") > 3),
        {"s": "s", "z": "a"},
        "s a",
    ),
    "group_by_dynamic": Expected(
        lambda u, v: u.group_by_dynamic("t", every="1d").agg(z=col("a").sum()), {"t": "t", "z": "a"}, "t"
    ),
    "group_by_dynamic by": Expected(
        lambda u, v: u.group_by_dynamic("t", every="12h", group_by="s", include_boundaries=True).agg(
            n=pl.len()
        ),
        {"s": "s", "_lower_boundary": "t", "_upper_boundary": "t", "t": "t", "n": "u."},
        "t s",
    ),
    "rolling": Expected(
        lambda u, v: u.rolling("t", period="8h").agg(z=col("a").sum()),
        {"t": "t", "z": "a"},
        also={"z": "t", "t": "t"},
    ),
    "two aggregations": Expected(
        lambda u, v: u.group_by("s", "a").agg(z=col("b").sum()).group_by("s").agg(y=col("z").max()).sort("s"),
        {"s": "s", "y": "b"},
        "s a",
    ),
    # joins
    "join inner": Expected(
        lambda u, v: u.select("a", "b").join(v.select("a", "w"), on="a", maintain_order="left_right"),
        {**same("a", "b"), "w": "v.w"},
        "a v.a",
    ),
    "join left": Expected(
        lambda u, v: u.join(v, on="a", how="left", maintain_order="left_right"),
        {**U, "s_right": "v.s", "w": "v.w", "t_right": "v.t"},
        "a v.a",
    ),
    "join right": Expected(
        lambda u, v: u.select("a", "b").join(
            v.select("a", "w"), on="a", how="right", maintain_order="right_left"
        ),
        {"b": "b", "a": "v.a", "w": "v.w"},
        "a v.a",
    ),
    "join full": Expected(
        lambda u, v: u.select("a", "b").join(
            v.select("a", "w"), on="a", how="full", maintain_order="left_right"
        ),
        {**same("a", "b"), "a_right": "v.a", "w": "v.w"},
        "a v.a",
    ),
    "join full coalesced": Expected(
        lambda u, v: u.select("a", "b").join(
            v.select("a", "w"), on="a", how="full", coalesce=True, maintain_order="left_right"
        ),
        {"a": "a v.a", "b": "b", "w": "v.w"},
        "a v.a",
    ),
    "join semi": Expected(
        lambda u, v: u.select("a", "b").join(v, on="a", how="semi"), same("a", "b"), "a v.a"
    ),
    "join anti": Expected(
        lambda u, v: u.select("a", "b").join(v, on="a", how="anti"), same("a", "b"), "a v.a"
    ),
    "join other names": Expected(
        lambda u, v: u.select("b", "s").join(
            v.select("a", "w"), left_on="b", right_on="a", how="left", maintain_order="left_right"
        ),
        {**same("b", "s"), "w": "v.w"},
        "b v.a",
    ),
    "join on expressions": Expected(
        lambda u, v: u.select("a", "b").join(
            v.select("a", "w"),
            left_on=col("a") + 1,
            right_on=col("a") * 2,
            how="left",
            maintain_order="left_right",
        ),
        {**same("a", "b"), "a_right": "v.a", "w": "v.w"},
        "a v.a",
    ),
    "join two keys": Expected(
        lambda u, v: u.select("a", "s", "b").join(
            v.select("a", "s", "w"), on=["a", "s"], maintain_order="left_right"
        ),
        {**same("a", "s", "b"), "w": "v.w"},
        "a s v.a v.s",
    ),
    "join suffix": Expected(
        lambda u, v: u.select("a", "s").join(
            v.select("a", "s"), on="a", suffix="_v", maintain_order="left_right"
        ),
        {**same("a", "s"), "s_v": "v.s"},
        "a v.a",
    ),
    "join filtered": Expected(
        lambda u, v: u.select("a", "b").join(
            v.filter(col("w") > 2).select("a", "s"), on="a", how="left", maintain_order="left_right"
        ),
        {**same("a", "b"), "s": "v.s"},
        "a v.a v.w",
    ),
    "join cross": Expected(
        lambda u, v: u.select("a").join(v.select("w"), how="cross"), {"a": "a", "w": "v.w"}
    ),
    "join_where": Expected(
        lambda u, v: u.select("a", "b").join_where(v.select("w"), col("a") > col("w")).sort("a", "b", "w"),
        {**same("a", "b"), "w": "v.w"},
        "a b v.w",
    ),
    "join_asof": Expected(
        lambda u, v: u.select("t", "a").join_asof(v.select("t", "w"), on="t"),
        {**same("t", "a"), "w": "v.w"},
        also={"w": "t v.t"},
    ),
    "join_asof by": Expected(
        lambda u, v: u.select("t", "s", "a").join_asof(
            v.select("t", "s", "w"), on="t", by="s", check_sortedness=False
        ),
        {**same("t", "s", "a"), "w": "v.w"},
        also={"w": "t s v.t v.s"},
    ),
    "self join": Expected(
        lambda u, v: u.select("a", "b").join(u.select("a", "c"), on="a", maintain_order="left_right"),
        same("a", "b", "c"),
        "a",
    ),
    "update": Expected(
        lambda u, v: u.select("a", "b").update(v.select("a", b="w"), on="a"),
        {"a": "a", "b": "b v.w"},
        "a v.a",
    ),
    # together
    "concat": Expected(
        lambda u, v: pl.concat([u.select("a", "s"), v.select("a", "s")]), {"a": "a v.a", "s": "s v.s"}
    ),
    "concat filtered": Expected(
        lambda u, v: pl.concat([u.select("a"), v.filter(col("w") > 2).select("a")]), {"a": "a v.a"}, "v.w"
    ),
    "concat diagonal": Expected(
        lambda u, v: pl.concat([u.select("a", "b"), v.select("a", "w")], how="diagonal"),
        {"a": "a v.a", "b": "b", "w": "v.w"},
    ),
    "concat horizontal": Expected(
        lambda u, v: pl.concat([u.select("a"), v.select("w")], how="horizontal"), {"a": "a", "w": "v.w"}
    ),
    "concat align": Expected(
        lambda u, v: pl.concat(
            [
                u.select("a", "b").unique("a", keep="first", maintain_order=True),
                v.select("a", "w").unique("a", keep="first", maintain_order=True),
            ],
            how="align",
        ),
        {"a": "a v.a", "b": "b", "w": "v.w"},
        "a v.a",
    ),
    "merge_sorted": Expected(
        lambda u, v: u.select("t", "a").merge_sorted(v.select("t", "a"), key="t"),
        {"t": "t v.t", "a": "a v.a"},
        "t v.t",
    ),
    "count of two": Expected(
        lambda u, v: pl.concat([u.select("a"), v.select("a")]).select(pl.len()), {"len": "u. v."}
    ),
    # what belongs to a place in the order, and not to a row
    "index filtered": Expected(
        lambda u, v: in_order(u).with_row_index().filter(col("index") < 4).select(col("a").sum()),
        {"a": "a"},
        "f",
    ),
    "index weighed": Expected(
        lambda u, v: in_order(u).with_row_index().select(a=(col("a") * col("index")).sum()), {"a": "a"}, "f"
    ),
    "index grouped": Expected(
        lambda u, v: (
            in_order(u).with_row_index().group_by(col("index") // 3).agg(col("a").sum()).sort("index")
        ),
        {"index": "u.", "a": "a"},
        "f",
    ),
    "index in over": Expected(
        lambda u, v: in_order(u).with_row_index().select(a=col("a").sum().over(col("index") // 3).max()),
        {"a": "a"},
        "f",
    ),
    "index joined": Expected(
        lambda u, v: (
            in_order(u)
            .with_row_index()
            .join(v.with_row_index(), on="index")
            .select(z=(col("a") * col("w")).sum())
        ),
        {"z": "a v.w"},
        "f",
    ),
    "index after explode": Expected(
        lambda u, v: (
            in_order(u).explode("l").with_row_index().filter(col("index") > 5).select(col("l").sum())
        ),
        {"l": "l"},
        "f l",
    ),
    "index of merge_sorted": Expected(
        lambda u, v: (
            u.select("t", "a")
            .merge_sorted(v.select("t", "a"), key="t")
            .with_row_index()
            .select(a=(col("a") * col("index")).sum())
        ),
        {"a": "a v.a"},
        "t v.t",
    ),
    "literal series in order": Expected(
        lambda u, v: (
            in_order(u)
            .with_columns(z=pl.lit(pl.Series(range(12))))
            .filter(col("z") < 4)
            .select(col("a").sum())
        ),
        {"a": "a"},
        "f",
    ),
    "filter by a series": Expected(
        lambda u, v: in_order(u).filter(pl.Series([True, False] * 6)).select(col("a").sum()), {"a": "a"}, "f"
    ),
    "sorted expression": Expected(
        lambda u, v: in_order(u).select(z=(col("a") * col("b").sort()).sum()), {"z": "a b"}, "f"
    ),
    "sorted column": Expected(
        lambda u, v: in_order(u).with_columns(z=col("b").sort()).select(z=(col("a") * col("z")).sum()),
        {"z": "a b"},
        "f",
    ),
    "sorted in groups": Expected(
        lambda u, v: in_order(u).group_by("s").agg(z=(col("a") * col("b").sort()).sum()).sort("s"),
        {"s": "s", "z": "a b"},
        "s",
        also={"z": "f"},
    ),
    "values that lost their rows": Expected(
        lambda u, v: in_order(halved(u)).select(
            z=pl.cov(col("a").filter(col("half") == 0), col("b").filter(col("half") == 1))
        ),
        {"z": "a b"},
        "f",
    ),
    "values of a predicate that lost their rows": Expected(
        lambda u, v: in_order(u).select(z=(col("a").filter("o") * col("b").filter(col("o").sort())).sum()),
        {"z": "a b"},
        "f o",
    ),
    "columns that lost their rows": Expected(
        lambda u, v: (
            in_order(u)
            .select(x=col("a").filter("o"), y=col("b").filter(col("o").reverse()))
            .select(z=(col("x") * col("y")).sum())
        ),
        {"z": "a b"},
        "f o",
    ),
    "columns of the same filter": Expected(
        lambda u, v: in_order(u).select(z=col("a").filter("o").sum(), y=col("b").filter("o").max()),
        {"z": "a", "y": "b"},
        "o",
    ),
    # Python: the plan hides what it does
    "map_batches": Expected(
        lambda u, v: u.select("a", "b").map_batches(lambda d: d.with_columns(a=pl.col("b"))),
        {"a": "b", "b": "b"},
        python=True,
    ),
    "map_elements": Expected(
        lambda u, v: u.select(
            "b", z=col("a").map_elements(lambda x: x if x > 2 else 0, return_dtype=pl.Int64)
        ),
        {"b": "b", "z": "a"},
        python=True,
    ),
    "map_groups": Expected(
        lambda u, v: (
            u.select("a", "s")
            .group_by("s", maintain_order=True)
            .map_groups(lambda d: d.head(1), schema={"a": pl.Int64, "s": pl.String})
        ),
        {"a": "a", "s": "s"},
        "s",
        python=True,
    ),
    "fold": Expected(
        lambda u, v: u.select("c", z=pl.fold(pl.lit(0), lambda x, y: x + y, [col("a"), col("b")])),
        {"c": "c", "z": "a b"},
        python=True,
    ),
}
