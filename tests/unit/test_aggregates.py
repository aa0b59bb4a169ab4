"""The definitions of the aggregates."""

import pytest

from flows.aggregates import recomputed
from lineage.errors import ContractError
from tasks.load import aggregate
from tasks.load.aggregate import REGISTRY, SQL, load_aggregates


def test_every_file_is_registered_and_says_what_it_answers() -> None:
    files = sorted(SQL.glob("*.sql"))
    assert [file.stem for file in files] == sorted(REGISTRY)
    for file in files:
        first = file.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("-- ")
        assert first.endswith("?")


def test_a_version_is_of_the_statement_and_not_of_its_comments() -> None:
    hourly = load_aggregates()[0]
    assert "--" not in hourly.sql
    changed = aggregate.Aggregate(
        contract=hourly.contract, sources=hourly.sources, sql=hourly.sql.replace("avg", "sum", 1)
    )
    assert changed.transformation().id != hourly.transformation().id
    assert load_aggregates()[0].transformation() == hourly.transformation()


def test_two_aggregates_do_not_take_each_others_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "REGISTRY", {**REGISTRY, "daily": ("sensor_readings",)})
    with pytest.raises(ContractError, match="two aggregates"):
        load_aggregates()


def test_one_hour_is_one_hour() -> None:
    assert [recomputed(hours) for hours in (0, 1, 1_200)] == [
        "Recomputed 0 hours.",
        "Recomputed 1 hour.",
        "Recomputed 1,200 hours.",
    ]
