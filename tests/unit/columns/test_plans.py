"""Lineage of plans whose lineage a person wrote down."""

from collections.abc import Iterator

import polars as pl
import pytest

from lineage.columns import ColumnEdge, Kind, named, trace
from tests.unit.columns.data import frames
from tests.unit.columns.plans import PLANS, Expected

Pair = tuple[str, str | None, str, str]


def traced(plan: Expected) -> tuple[ColumnEdge, ...]:
    data = frames()
    return trace(plan.build(named(data["u"].lazy(), "u"), named(data["v"].lazy(), "v")))


def sources(text: str) -> Iterator[tuple[str, str | None]]:
    for word in text.split():
        dataset, _, column = word.rpartition(".")
        yield dataset or "u", column or None


def direct(plan: Expected) -> dict[str, set[tuple[str, str | None]]]:
    return {target: set(sources(text)) for target, text in plan.direct.items()}


def expected(plan: Expected) -> set[Pair]:
    made = {(*source, target, "DIRECT") for target, found in direct(plan).items() for source in found}
    decided = {
        (*source, target, "INDIRECT")
        for target in plan.direct
        for source in sources(f"{plan.rows} {plan.also.get(target, '')}")
    }
    return made | decided


def found(plan: Expected) -> set[Pair]:
    return {(e.source_dataset, e.source_column, e.target_column, e.kind.value) for e in traced(plan)}


@pytest.mark.parametrize("name", PLANS)
def test_nothing_a_person_expects_is_missing(name: str) -> None:
    assert expected(PLANS[name]) <= found(PLANS[name])


@pytest.mark.parametrize("name", [name for name, plan in PLANS.items() if not plan.python])
def test_outputs_are_made_from_what_a_person_says(name: str) -> None:
    made: dict[str, set[tuple[str, str | None]]] = {}
    for edge in traced(PLANS[name]):
        if edge.kind is Kind.DIRECT:
            made.setdefault(edge.target_column, set()).add((edge.source_dataset, edge.source_column))
    assert made == direct(PLANS[name])


def test_there_are_enough_plans() -> None:
    assert len(PLANS) >= 100


def test_precision_over_all_edges() -> None:
    """Edges with their kind, of the plans without Python functions, against those written down."""
    plans = [plan for plan in PLANS.values() if not plan.python]
    right = sum(len(found(plan) & expected(plan)) for plan in plans)
    assert right / sum(len(found(plan)) for plan in plans) >= 0.97


@pytest.mark.parametrize("name", [name for name, plan in PLANS.items() if plan.python])
def test_what_the_plan_hides_is_marked(name: str) -> None:
    assert any(edge.opaque for edge in traced(PLANS[name]))


def test_a_frame_without_a_name_is_known_by_its_place() -> None:
    one, two = pl.LazyFrame({"a": [1]}), pl.LazyFrame({"b": [1]})
    edges = trace(pl.concat([one, two], how="horizontal"))
    assert {(e.source_dataset, e.target_column) for e in edges} == {("memory:1", "a"), ("memory:2", "b")}
