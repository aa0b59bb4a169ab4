"""Every method of a lazy frame: none may hide a source, and a new one has to be thought about."""

import polars as pl
import pytest
from polars import col

from tests.unit.columns.plans import Build
from tests.unit.columns.test_perturbation import missed

METHODS: dict[str, Build] = {
    "bottom_k": lambda u, v: u.select("a", "b", "f").bottom_k(3, by=["f", "a", "b"]),
    "cache": lambda u, v: u.cache().filter("o"),
    "cast": lambda u, v: u.cast({"a": pl.Float64}),
    "clear": lambda u, v: u.clear(),
    "clone": lambda u, v: u.clone(),
    "count": lambda u, v: u.count(),
    "drop": lambda u, v: u.filter("o").drop("a"),
    "drop_nans": lambda u, v: u.drop_nans("f"),
    "drop_nulls": lambda u, v: u.drop_nulls(),
    "explode": lambda u, v: u.explode("l"),
    "fill_nan": lambda u, v: u.select("f", "a").fill_nan(col("a")),
    "fill_null": lambda u, v: u.select("a", "b").fill_null(strategy="forward"),
    "filter": lambda u, v: u.filter("o", col("a") > 1),
    "first": lambda u, v: u.sort("f", maintain_order=True).first(),
    "gather": lambda u, v: u.select("a", "b").gather([3, 1]),
    "gather_every": lambda u, v: u.filter("o").gather_every(2),
    "group_by": lambda u, v: u.group_by("o", maintain_order=True).agg(pl.all()),
    "group_by_dynamic": lambda u, v: u.group_by_dynamic("t", every="1d", group_by="o").agg(
        col("a", "b").max()
    ),
    "head": lambda u, v: u.sort("f", maintain_order=True).head(2),
    "inspect": lambda u, v: u.select("a", "b").inspect("{}"),
    "interpolate": lambda u, v: u.select("a", "f").interpolate(),
    "join": lambda u, v: u.join(v, on=["a", "s"], how="full", maintain_order="left_right"),
    "join_asof": lambda u, v: u.join_asof(v, on="t", strategy="nearest", tolerance="9h"),
    "join_where": lambda u, v: (
        u.select("a", "f").join_where(v, col("a") >= col("w"), col("f") > 1).sort(pl.all())
    ),
    "last": lambda u, v: u.last(),
    "lazy": lambda u, v: u.lazy(),
    "limit": lambda u, v: u.limit(3),
    "map_batches": lambda u, v: u.select("a", "b", "o").map_batches(lambda d: d.filter("o")),
    "match_to_schema": lambda u, v: u.select("a", "b").match_to_schema({"b": pl.Int64, "a": pl.Int64}),
    "max": lambda u, v: u.select("a", "b", "t").max(),
    "mean": lambda u, v: u.select("a", "b").mean(),
    "median": lambda u, v: u.select("a", "b").median(),
    "merge_sorted": lambda u, v: u.select("t", "a").merge_sorted(v.select("t", "a"), key="t"),
    "min": lambda u, v: u.select("a", "b").min(),
    "null_count": lambda u, v: u.null_count(),
    "pipe": lambda u, v: u.pipe(lambda f: f.filter("o")),
    "pipe_with_schema": lambda u, v: u.pipe_with_schema(lambda f, schema: f.filter("o").select(list(schema))),
    "pivot": lambda u, v: u.pivot(
        "s", on_columns=["x", "y"], index="o", values="b", aggregate_function="max"
    ).sort("o"),
    "quantile": lambda u, v: u.select("a", "b").quantile(0.5),
    "remove": lambda u, v: u.remove("o"),
    "rename": lambda u, v: u.filter("o").rename({"a": "z"}),
    "reverse": lambda u, v: u.reverse(),
    "rolling": lambda u, v: u.rolling("t", period="9h", group_by="o").agg(
        col("a").sum(), last=col("b").last()
    ),
    "select": lambda u, v: u.select(col("a") + col("b")),
    "select_seq": lambda u, v: u.select_seq(col("a") + col("b")),
    "set_sorted": lambda u, v: u.set_sorted("t"),
    "shift": lambda u, v: u.select("a", "b").shift(2, fill_value=0),
    "slice": lambda u, v: u.slice(2, 4),
    "sort": lambda u, v: u.sort("s", col("a") * -1, maintain_order=True),
    "sql": lambda u, v: u.sql(
        "select s, sum(a) as x from self where f > 1 group by s having sum(b) > 2 order by s"
    ),
    "std": lambda u, v: u.select("a", "b").std(),
    "sum": lambda u, v: u.select("a", "b").sum(),
    "tail": lambda u, v: u.tail(2),
    "top_k": lambda u, v: u.select("a", "b", "f").top_k(3, by=["f", "a", "b"]),
    "unique": lambda u, v: u.unique(["a", "s"], keep="last", maintain_order=True),
    "unnest": lambda u, v: u.unnest("st"),
    "unpivot": lambda u, v: u.unpivot(["a", "b"], index=["s", "o"]),
    "update": lambda u, v: u.select("a", "b").update(v.select("a", b="w"), on="a", how="full").sort("a", "b"),
    "var": lambda u, v: u.select("a", "b").var(),
    "with_columns": lambda u, v: u.with_columns(a=col("b") + col("c"), z=col("a").sum()),
    "with_columns_seq": lambda u, v: u.with_columns_seq(a=col("b")),
    "with_row_index": lambda u, v: u.filter("o").with_row_index(),
}
RESULTS = """
    collect collect_async collect_batches collect_schema columns describe deserialize dtypes execute
    explain from_lazyframe_resolver remote schema serialize show show_graph sink_batches sink_csv sink_delta
    sink_iceberg sink_ipc sink_ndjson sink_parquet width
"""
"""What runs a query, writes it or tells about it, and makes no other; and two that come from outside."""


@pytest.mark.parametrize("name", METHODS)
def test_no_source_of_a_method_is_missed(name: str) -> None:
    assert missed(METHODS[name], 5) == set()


def test_every_method_is_known() -> None:
    public = {name for name in dir(pl.LazyFrame) if not name.startswith("_")}
    assert public == METHODS.keys() | set(RESULTS.split())
