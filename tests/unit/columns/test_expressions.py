"""One plan for each function of Polars that an expression can call: none may hide a source."""

import polars as pl
import pytest
from polars import col

from lineage.columns import named, trace
from tests.unit.columns.data import frames
from tests.unit.columns.test_perturbation import missed

a, b, f, s, o, l, t, st = (col(name) for name in ("a", "b", "f", "s", "o", "l", "t", "st"))  # noqa: E741
n = a.fill_null(0)
binary = s.cast(pl.Binary)
kind = s.cast(pl.Categorical)
array = pl.concat_list(n, n + 1).list.to_array(2)
item = pl.element()

EXPRESSIONS: dict[str, pl.Expr] = {
    "abs": a.abs(), "neg": -a, "not": ~o, "xor": o ^ (a > 2), "floordiv": a // 2, "mod": a % b, "pow": a**2,
    "sqrt": f.sqrt(), "cbrt": f.cbrt(), "exp": f.exp(), "log": f.log(2), "log1p": f.log1p(), "sin": f.sin(),
    "cot": f.cot(), "degrees": f.degrees(), "arctan2": pl.arctan2("f", "a"), "sign": a.sign(), "round": f.round(1),
    "round_sig_figs": f.round_sig_figs(1), "floor": f.floor(), "ceil": f.ceil(), "truncate": f.truncate(),
    "fill_nan": f.fill_nan(1), "is_null": a.is_null(), "is_nan": f.is_nan(), "is_finite": f.is_finite(),
    "is_in column": a.is_in(b.implode()), "is_close": f.is_close(a), "eq_missing": a.eq_missing(b),
    "is_unique": a.is_unique(), "is_duplicated": a.is_duplicated(), "is_first_distinct": a.is_first_distinct(),
    "is_last_distinct": a.is_last_distinct(), "hash": a.hash(), "reinterpret": a.reinterpret(signed=False),
    "to_physical": t.to_physical(), "set_sorted": t.set_sorted(), "bitwise_count": a.bitwise_count_ones(),
    "bitwise_and": n.bitwise_and(), "min": a.min(), "max": a.max(), "mean": a.mean(), "median": a.median(),
    "std": a.std(), "var": a.var(), "product": a.product(), "count": a.count(), "n_unique": a.n_unique(),
    "approx_n_unique": a.approx_n_unique(), "null_count": a.null_count(), "first": a.first(), "last": a.last(),
    "first not null": a.first(ignore_nulls=True), "implode": a.implode(), "skew": f.skew(), "kurtosis": f.kurtosis(),
    "entropy": f.entropy(), "arg_min": a.arg_min(), "arg_max": a.arg_max(), "arg_unique": a.arg_unique(),
    "min_by": a.min_by("f"), "dot": a.dot("b"), "cov": pl.cov("f", "b"), "any": o.any(), "all": o.all(),
    "has_nulls": a.has_nulls(), "is_empty": a.is_empty(), "index_of": a.index_of(2), "all_horizontal": pl.all_horizontal("o"),
    "any_horizontal": pl.any_horizontal(o, a > 2), "mean_horizontal": pl.mean_horizontal("a", "b"),
    "min_horizontal": pl.min_horizontal("a", "b"), "cum_count": a.cum_count(), "cum_max": a.cum_max(), "cum_min": a.cum_min(),
    "cum_prod": a.cum_prod(), "cumulative_eval": a.cumulative_eval(item.sum()), "pct_change": f.pct_change(),
    "shift fill": a.shift(1, fill_value=b.max()), "forward": a.forward_fill(), "backward": a.backward_fill(),
    "fill mean": a.fill_null(strategy="mean"), "peak_max": a.peak_max(), "rank": a.rank(), "rle_id": a.rle_id(),
    "rolling_max": a.rolling_max(2), "rolling_quantile": f.rolling_quantile(0.5, window_size=2),
    "rolling_rank": f.rolling_rank(2), "rolling_skew": f.rolling_skew(3), "rolling_corr": pl.rolling_corr("f", "b", window_size=3),
    "rolling_map": f.rolling_map(lambda x: x.sum(), 2), "rolling_max_by": f.rolling_max_by("t", "5h"),
    "ewm_mean_by": f.ewm_mean_by("t", half_life="5h"), "ewm_std": f.ewm_std(com=1), "value_counts": a.value_counts(sort=True),
    "unique_counts": a.unique_counts(), "mode": a.mode(maintain_order=True), "unique": a.unique(maintain_order=True),
    "drop_nulls": a.drop_nulls(), "drop_nans": f.drop_nans(), "head": a.head(2), "tail": a.tail(2), "slice": a.slice(1, 3),
    "slice by column": a.slice(0, n.max()), "bottom_k": a.bottom_k(2), "bottom_k_by": a.bottom_k_by("f", 2),
    "top_k of column": n.top_k(b.max()), "gather_every": a.gather_every(3), "sample": a.sample(3, seed=1), "shuffle": a.shuffle(seed=1),
    "append": a.append(b), "extend_constant": a.extend_constant(1, 2), "repeat": pl.repeat(n.max(), 3), "repeat_by": a.repeat_by(n),
    "reshape": a.reshape((4, 3)), "hist": a.hist(bin_count=3), "search_sorted": f.sort().search_sorted(n),
    "arg_where": pl.arg_where(a > 2), "arg_sort": a.arg_sort(), "arg_sort_by": pl.arg_sort_by("a", "f"), "arg_true": o.arg_true(),
    "int_range": pl.int_range(0, n.max()), "int_ranges": pl.int_ranges(0, n), "row_index": pl.row_index(),
    "date_range": pl.date_range(t.min().dt.date(), t.max().dt.date()), "datetime_ranges": pl.datetime_ranges(t, t + pl.duration(days=1)),
    "linear_space": pl.linear_space(0, n.max(), 4), "replace": a.replace({1: 5, 2: 6}),
    "map_batches": a.map_batches(lambda x: x * 2, return_dtype=pl.Int64),
    "map_batches two": pl.map_batches(["a", "b"], lambda x: x[0] + x[1], return_dtype=pl.Int64),
    "reduce": pl.reduce(lambda x, y: x + y, [a, b]), "cum_fold": pl.cum_fold(pl.lit(0), lambda x, y: x + y, [a, b]),
    "str.contains": s.str.contains("x"), "str.replace": s.str.replace("x", s), "str.len": s.str.len_bytes(), "str.split": s.str.split("x"),
    "str.extract": s.str.extract("(.)"), "str.extract_all": s.str.extract_all("."), "str.extract_groups": s.str.extract_groups("(.)"),
    "str.find": s.str.find("y"), "str.join": s.str.join("-"), "str.strptime": (s + "2026").str.strptime(pl.Date, "x%Y", strict=False),
    "str.to_integer": a.cast(pl.String).str.to_integer(), "str.pad": s.str.pad_start(3), "str.zfill": s.str.zfill(n),
    "str.slice": (s + "abc").str.slice(n, 1), "str.encode": s.str.encode("hex"), "str.replace_many": s.str.replace_many(["x"], ["q"]),
    "bin.encode": binary.bin.encode("hex"), "bin.contains": binary.bin.contains(b"x"), "bin.size": binary.bin.size(),
    "cat.len": kind.cat.len_chars(), "cat.starts_with": kind.cat.starts_with("x"),
    "dt.offset_by": t.dt.offset_by("1d"), "dt.round": t.dt.round("1d"), "dt.strftime": t.dt.strftime("%H"), "dt.combine": t.dt.date().dt.combine(t.dt.time()),
    "dt.epoch": t.dt.epoch(), "dt.month_end": t.dt.month_end(), "dt.time_zone": t.dt.replace_time_zone("UTC"), "dt.total": t.diff().dt.total_hours(),
    "business": t.dt.date().dt.add_business_days(n, roll="forward"), "business_day_count": pl.business_day_count(t.dt.date().min(), t.dt.date()),
    "list.sum": l.list.sum(), "list.get": l.list.get(n, null_on_oob=True), "list.gather": l.list.gather([0]), "list.eval": l.list.eval(item * 2),
    "list.agg": l.list.agg(item.sum()), "list.filter": l.list.filter(item > 2), "list.set_union": l.list.set_union(pl.concat_list(n, b)),
    "list.to_struct": l.list.to_struct(fields=["x"]), "list.contains": l.list.contains(a), "list.diff": l.list.diff(), "list.sample": l.list.sample(1, seed=1),
    "list.slice": l.list.slice(0, n), "list.explode": l.list.explode(), "list.sort": l.list.sort(), "list.concat": l.list.concat(pl.concat_list(a)),
    "arr.sum": array.arr.sum(), "arr.eval": array.arr.eval(item + 1), "arr.get": array.arr.get(n % 2), "arr.explode": array.arr.explode(),
    "arr.to_struct": array.arr.to_struct(fields=["x", "y"]), "struct.field": st.struct.field("p"), "struct.unnest": st.struct.unnest(),
    "struct.json": st.struct.json_encode(), "struct.rename": st.struct.rename_fields(["x", "y"]), "struct.with_fields": st.struct.with_fields(r=pl.field("p") + a),
    "struct of structs": pl.struct(st, x=a).struct.field("st").struct.field("q"), "map_fields": st.name.map_fields(str.upper),
    "over explode": a.sort().over("s", mapping_strategy="explode"), "over join": a.over("s", mapping_strategy="join"),
    "filter over": a.filter(o).sum().over("s"), "rolling expression": a.max().rolling("t", period="6h"), "get": a.get(b.max(), null_on_oob=True),
    "when whole": pl.when(o.any()).then(a.max()).otherwise(b.max()), "coalesce whole": pl.coalesce(a.max(), b.max()),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_no_source_of_an_expression_is_missed(name: str) -> None:
    assert missed(lambda u, v: u.select(EXPRESSIONS[name]), frames()) == set()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_nor_what_it_does_to_a_column_beside_it(name: str) -> None:
    assert missed(lambda u, v: u.select(EXPRESSIONS[name].implode(), kept=col("c").sum()), frames()) == set()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_nor_by_its_group(name: str) -> None:
    """The order of a sort reaches an aggregate where it matters."""
    ordered = lambda u, v: u.sort("c", maintain_order=True).group_by(k="o").agg(EXPRESSIONS[name]).sort("k")  # noqa: E731
    assert missed(ordered, frames()) == set()


def test_a_function_that_the_plan_shows_is_not_opaque() -> None:
    hidden = {
        name
        for name, expression in EXPRESSIONS.items()
        if any(edge.opaque for edge in trace(named(frames()["u"].lazy(), "u").select(expression)))
    }
    assert hidden == {
        "arr.eval", "bin.contains", "bin.encode", "bin.size", "business", "business_day_count", "cat.len", "cat.starts_with",
        "cum_fold", "cumulative_eval", "list.agg", "list.eval", "list.filter", "map_batches", "map_batches two", "reduce",
        "reshape", "rolling_map",
    }  # fmt: skip
