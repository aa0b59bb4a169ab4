"""The count of `make chaos` sees what is lost, stored twice, or where it may not be."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.chaos.count import Expected, Found
from tests.chaos.readings import Kind, Readings

READINGS = Readings(seed=3, start=datetime(2026, 11, 21, tzinfo=UTC))
EXPECTED = Expected(READINGS, range(500))
RIVALS = {number for number in EXPECTED.all if READINGS.rivals(number) is not None}


def as_it_should() -> Found:
    bad = {number for number, reading in EXPECTED.all.items() if reading.key is None}
    return Found(stored=Counter(EXPECTED.all.keys() - bad - RIVALS), rejected=Counter(bad | RIVALS))


def test_the_readings_are_of_every_kind_and_the_same_each_time() -> None:
    assert {READINGS.kind(number) for number in range(500)} == set(Kind)
    assert len(EXPECTED.by_payload) == len(EXPECTED.all)
    assert EXPECTED.all == Expected(replace(READINGS), range(500)).all
    assert RIVALS


def test_everything_once_is_neither_lost_nor_duplicated() -> None:
    verdict = EXPECTED.verdict(as_it_should())
    assert (verdict.lost, verdict.duplicated) == (0, 0)
    assert verdict.stored + verdict.rejected == 500


def test_of_rivals_either_may_be_the_one_stored() -> None:
    found, rival = as_it_should(), min(RIVALS)
    other = READINGS.rivals(rival)
    assert other is not None
    found.stored.update({rival: 1, other: -1})
    found.rejected.update({rival: -1, other: 1})
    found.stored, found.rejected = +found.stored, +found.rejected
    verdict = EXPECTED.verdict(found)
    assert (verdict.lost, verdict.duplicated) == (0, 0)


def good() -> int:
    """A number without a rival."""
    rivalled = {READINGS.rivals(number) for number in RIVALS}
    return next(n for n in range(500) if READINGS.kind(n) is Kind.GOOD and n not in rivalled)


def torn() -> int:
    return next(n for n in range(500) if READINGS.kind(n) is Kind.TORN)


@pytest.mark.parametrize(
    ("number", "stored", "rejected", "lost", "duplicated"),
    [
        pytest.param(good(), -1, 0, 1, 0, id="a good one is missing"),
        pytest.param(good(), 1, 0, 0, 1, id="a good one is stored twice"),
        pytest.param(good(), 0, 1, 0, 1, id="a good one is stored and rejected"),
        pytest.param(good(), -1, 1, 1, 0, id="a good one is rejected"),
        pytest.param(torn(), 0, -1, 1, 0, id="a bad one is missing"),
        pytest.param(torn(), 0, 1, 0, 1, id="a bad one is rejected twice"),
        pytest.param(torn(), 1, -1, 1, 0, id="a bad one is stored"),
    ],
)
def test_what_is_wrong_is_counted(
    number: int, stored: int, rejected: int, lost: int, duplicated: int
) -> None:
    found = as_it_should()
    found.stored.update({number: stored})
    found.rejected.update({number: rejected})
    found.stored, found.rejected = +found.stored, +found.rejected  # without zeros
    verdict = EXPECTED.verdict(found)
    assert (verdict.lost, verdict.duplicated) == (lost, duplicated)


def test_a_row_that_no_message_explains_is_one_too_many() -> None:
    found = as_it_should()
    found.strangers = 1
    assert EXPECTED.verdict(found).duplicated == 1
