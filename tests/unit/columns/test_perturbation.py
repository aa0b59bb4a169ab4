"""Truth: change the values of one input column, and see which outputs change.

It is a lower bound, so it finds what is missed and never what is too much. A change that makes the
query fail says nothing and is left out.
"""

from collections.abc import Iterator

import polars as pl
import pytest
from polars.exceptions import PolarsError

from lineage.columns import named, trace
from tests.unit.columns.data import Frames, all_changed, frames
from tests.unit.columns.plans import PLANS, Build
from tests.unit.columns.random_plans import random_plan

CHANGES = 3
SEEDS = 200


def built(build: Build, data: Frames) -> pl.LazyFrame:
    return build(named(data["u"].lazy(), "u"), named(data["v"].lazy(), "v"))


def dependencies(build: Build, seed: int) -> Iterator[tuple[str, str, str]]:
    """(dataset, column, output) that were seen to depend."""
    before = built(build, frames(seed)).collect()
    same = {dataset: frame.lazy() for dataset, frame in frames(seed).items()}
    for dataset, name, other in all_changed(seed, CHANGES):
        given = {**same, dataset: other}
        try:
            after = build(given["u"], given["v"]).collect()
        except PolarsError:
            continue
        yield from ((dataset, name, out) for out in before.columns if differ(before[out], after[out]))


def differ(one: pl.Series, other: pl.Series) -> bool:
    """By more than what adding floats in another order does."""
    if len(one) == len(other) and one.equals(other, null_equal=True):
        return False
    if one.dtype.is_float() and other.dtype.is_float():
        one, other = one.round_sig_figs(9), other.round_sig_figs(9)
    return len(one) != len(other) or not one.equals(other, null_equal=True)


def missed(build: Build, seed: int = 1) -> set[tuple[str, str, str]]:
    """What was seen to depend on what of `frames(seed)`, and no edge tells."""
    data = frames(seed)
    edges = trace(built(build, data))
    known = {(e.source_dataset, e.source_column, e.target_column) for e in edges}
    assert {e.target_column for e in edges} == set(built(build, data).collect_schema())
    found = set(dependencies(build, seed)) - known
    # Of equal rows Polars picks any (`min_by`): what is seen once and not again was such a choice.
    return found & set(dependencies(build, seed)) if found else found


@pytest.mark.parametrize("name", PLANS)
def test_no_edge_of_a_written_plan_is_missed(name: str) -> None:
    build = PLANS[name].build
    assert missed(build) == set()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_edge_of_a_random_plan_is_missed(seed: int) -> None:
    assert missed(lambda u, v: random_plan(seed, u, v), seed) == set()


def test_the_test_sees_what_there_is_to_see() -> None:
    """A truth that found nothing would let everything pass."""
    seen = set(dependencies(PLANS["filter"].build, 1))
    assert seen == {("u", "a", "b"), ("u", "a", "s"), ("u", "b", "b"), ("u", "s", "s")}
