"""Names, versions and the words on the edges."""

from collections.abc import Callable
from functools import reduce
from operator import add
from pathlib import Path

import polars as pl
import pytest
from polars import col

from lineage.columns import ColumnEdge, Kind, Subtype, UnknownPlanWarning, collected, functions, named, trace
from lineage.columns.edges import KNOWN_VERSIONS, warn_once
from lineage.columns.nodes import VISITORS
from lineage.columns.plan import traverser_of


def u() -> pl.LazyFrame:
    return named(pl.LazyFrame({"a": [1, 2], "b": [3, 4], "s": ["x", "y"]}), "u")


def datasets(frame: pl.LazyFrame) -> set[str]:
    return {edge.source_dataset for edge in trace(frame)}


def subtypes(frame: pl.LazyFrame, target: str) -> set[tuple[str | None, Subtype]]:
    return {(e.source_column, e.subtype) for e in trace(frame) if e.target_column == target}


def test_an_edge_says_everything() -> None:
    assert trace(u().select(z=col("a") + 1)) == (
        ColumnEdge("u", "a", "z", Kind.DIRECT, Subtype.TRANSFORMATION, False),
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (col("a"), {("a", Subtype.IDENTITY)}),
        (col("a") + 1, {("a", Subtype.TRANSFORMATION)}),
        (col("a").sum() + 1, {("a", Subtype.AGGREGATION)}),
        (col("a").sum() + col("a"), {("a", Subtype.AGGREGATION)}),
        (col("a").sum().over("s"), {("a", Subtype.AGGREGATION), ("s", Subtype.WINDOW)}),
        (col("a").sort_by("b"), {("a", Subtype.IDENTITY), ("b", Subtype.SORT)}),
        (pl.len(), {(None, Subtype.AGGREGATION)}),
        (pl.lit(1), {(None, Subtype.IDENTITY)}),
        (
            pl.when(col("s") == "x").then("a").otherwise(0),
            {("a", Subtype.TRANSFORMATION), ("s", Subtype.CONDITIONAL)},
        ),
    ],
)
def test_how_a_value_is_made(expression: pl.Expr, expected: set[tuple[str | None, Subtype]]) -> None:
    assert subtypes(u().select(z=expression), "z") == expected


@pytest.mark.parametrize(
    ("frame", "subtype"),
    [
        (lambda f: f.filter(col("b") > 1), Subtype.FILTER),
        (lambda f: f.sort("b"), Subtype.SORT),
        (lambda f: f.unique("b"), Subtype.FILTER),
        (lambda f: f.join(f.select("b"), on="b"), Subtype.JOIN),
        (lambda f: f.group_by("b").agg(col("a").sum()), Subtype.GROUP_BY),
    ],
)
def test_what_decides_the_rows(frame, subtype: Subtype) -> None:  # type: ignore[no-untyped-def]
    assert ("b", subtype) in subtypes(frame(u()), "a")


def test_edges_have_an_order() -> None:
    edges = trace(u().filter(col("b") > 1, col("s") == "x").select(z=col("b") + col("a")))
    assert [(e.kind.value, e.source_column) for e in edges] == [
        ("DIRECT", "a"), ("DIRECT", "b"), ("INDIRECT", "b"), ("INDIRECT", "s")
    ]  # fmt: skip


def test_lineage_starts_at_the_nearest_name() -> None:
    inner = named(u().select(z=col("a") + col("b")), "middle")
    assert [(e.source_dataset, e.source_column) for e in trace(inner.select(y="z"))] == [("middle", "z")]


def test_a_name_changes_neither_data_nor_query() -> None:
    plain = pl.LazyFrame({"a": [1, 2]})
    assert named(plain, "u").collect().equals(plain.collect())
    assert named(plain, "u").explain() == plain.explain()


def test_data_that_re_enters_keeps_its_name() -> None:
    frame = collected(u().filter(col("a") > 1).select("b"), "selected")
    assert datasets(frame.lazy().select(z="b")) == {"selected"}
    assert frame.to_dict(as_series=False) == {"b": [4]}


def test_another_frame_made_from_it_does_not() -> None:
    frame = collected(u(), "whole")
    assert datasets(frame.filter(col("a") > 1).lazy()) == {"memory:1"}


def assign_columns(frame: pl.DataFrame) -> None:
    frame.columns = ["x", "y", "z"]


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.insert_column(0, pl.Series("z", [0, 0])),
        lambda frame: frame.insert_column(0, (col("a") + 1).alias("z")),
        lambda frame: frame.replace_column(0, pl.Series("a", [0, 0])),
        lambda frame: frame.__setitem__((0, "a"), 99),
        lambda frame: frame.drop_in_place("a"),
        lambda frame: frame.extend(frame.clone()),
        lambda frame: frame.vstack(frame.clone(), in_place=True),
        lambda frame: frame.hstack([pl.Series("z", [0, 0])], in_place=True),
        assign_columns,
    ],
)
def test_a_change_in_place_takes_the_name_away(change: Callable[[pl.DataFrame], object]) -> None:
    frame = collected(u(), "whole")
    before = frame.clone()
    change(frame)
    assert not frame.equals(before)
    assert datasets(frame.lazy()) == {"memory:1"}


def test_what_changes_nothing_in_place_keeps_the_name() -> None:
    frame = collected(u(), "whole")
    assert frame.vstack(frame).height == 4
    assert frame.hstack([pl.Series("z", [0, 0])]).width == 4
    assert datasets(frame.lazy()) == {"whole"}


@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson", "ipc"])
def test_files_name_themselves(tmp_path: Path, kind: str) -> None:
    scan = getattr(pl, f"scan_{kind}")
    for day in ("01", "02", "11"):
        getattr(u().collect(), f"write_{kind}")(tmp_path / f"day-{day}.{kind}")
    one, many = scan(tmp_path / f"day-01.{kind}"), scan(tmp_path / f"day-*.{kind}")
    assert datasets(one) == {f"file:{tmp_path}/day-01.{kind}"}
    assert {e.source_column for e in trace(many)} == {"a", "b", "s"}
    shown = "*" if kind == "ipc" else "day-*"  # Polars shows only the first of several IPC files
    assert datasets(many) == {f"file:{tmp_path}/{shown}.{kind}"}
    joined = named(scan(tmp_path / f"day-02.{kind}"), "named").join(one, on="a").select("b", c="b_right")
    assert datasets(joined) == {"named", f"file:{tmp_path}/day-01.{kind}"}


def test_columns_that_a_scan_makes_come_from_its_rows(tmp_path: Path) -> None:
    u().collect().write_csv(tmp_path / "x.csv")
    frame = pl.scan_csv(tmp_path / "x.csv", row_index_name="i", include_file_paths="path")
    assert {e.target_column for e in trace(frame) if e.source_column is None} == {"i", "path"}


def test_what_a_sink_writes_is_traced(tmp_path: Path) -> None:
    frame = u().select(z="a").sink_csv(tmp_path / "x.csv", lazy=True)
    assert [(e.source_column, e.target_column) for e in trace(frame)] == [("a", "z")]


def test_a_deep_plan() -> None:
    frame = u().select("a")
    for _ in range(400):
        frame = frame.with_columns(col("a") + 1)
    assert subtypes(frame, "a") == {("a", Subtype.TRANSFORMATION)}


def nested_when(depth: int) -> pl.Expr:
    made = pl.lit(0)
    for i in range(depth):
        made = pl.when(col("s") == str(i)).then("b").otherwise(made)
    return made


@pytest.mark.parametrize(
    ("expression", "sources"),
    [
        (reduce(add, [col("a")] * 1000 + [col("b")]), {"a", "b"}),
        (reduce(lambda made, _: made.abs(), range(1000), col("a")), {"a"}),
        (reduce(lambda made, _: made.sort_by("b"), range(1000), col("a")), {"a", "b"}),
        (nested_when(1000), {"b", "s"}),
    ],
)
def test_a_deep_expression_is_as_exact_as_a_flat_one(expression: pl.Expr, sources: set[str]) -> None:
    edges = trace(u().select("b", z=expression))
    assert {e.source_column for e in edges if e.target_column == "z"} == sources
    assert not any(edge.opaque for edge in edges)


class Unknown:
    """A traverser of a Polars that is not out yet."""

    def __init__(self, traverser: object) -> None:
        self.traverser = traverser

    def __getattr__(self, name: str) -> object:
        return getattr(self.traverser, name)

    def version(self) -> tuple[int, int]:
        return (99, 0)


def test_an_unknown_version_is_opaque_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage.columns.edges.traverser_of", lambda frame: Unknown(traverser_of(frame)))
    warn_once.cache_clear()
    frame = u().join(named(pl.LazyFrame({"a": [1], "w": [2]}), "v"), on="a").select("b", y="w")
    with pytest.warns(UnknownPlanWarning, match=r"99\.0.*Update Headwater") as warned:
        edges = trace(frame)
    assert len(warned) == 1
    assert {(e.source_dataset, e.source_column, e.target_column) for e in edges if e.kind is Kind.DIRECT} == {
        (*source, target)
        for source in [("u", "a"), ("u", "b"), ("u", "s"), ("v", "a"), ("v", "w")]
        for target in ("b", "y")
    }
    assert all(edge.opaque for edge in edges)
    assert trace(frame) == edges  # a second warning would be an error here


def test_the_installed_version_is_known() -> None:
    assert u()._ldf.visit().version() in KNOWN_VERSIONS


def test_a_function_that_we_do_not_know_is_opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(functions._NAMED, "abs")
    edges = trace(u().filter(col("s") == "x").select("b", z=col("a").abs()))
    made = [e for e in edges if e.target_column == "z" and e.kind is Kind.DIRECT]
    assert [(e.source_column, e.opaque) for e in made] == [("a", True)]
    assert not any(e.opaque for e in edges if e.target_column == "b")


@pytest.mark.parametrize("error", [NotImplementedError, KeyError, AttributeError])
def test_a_node_that_is_not_as_we_know_it_is_opaque(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setitem(VISITORS, "Sort", broken)  # type: ignore[arg-type]
    edges = trace(u().sort("a").select("b"))
    assert {(e.source_column, e.opaque) for e in edges if e.kind is Kind.DIRECT} == {
        ("a", True), ("b", True), ("s", True)
    }  # fmt: skip


def test_a_node_whose_columns_we_get_wrong_is_opaque(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = lambda reader, node, inputs, schema: inputs[0]._replace(columns={})  # noqa: E731
    monkeypatch.setitem(VISITORS, "Sort", wrong)  # type: ignore[arg-type]
    assert all(edge.opaque for edge in trace(u().sort("a").select("b")))
