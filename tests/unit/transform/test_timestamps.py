"""Timestamps are read as Python reads them, in every accepted form."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract import Contract
from tasks.transform.reading_rules import parsed as parse

moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1))  # noqa: DTZ001 - a zone follows
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
separators = st.sampled_from("Tt ")


def parsed(texts: list[str], contract: Contract) -> list[datetime | None]:
    frame = pl.DataFrame({"n": range(len(texts)), "timestamp": texts})
    frame = frame.with_columns(pl.lit(None, pl.Float64).alias("timestamp.epoch"))
    times: list[datetime | None] = parse(frame, contract).sort("n")["timestamp"].to_list()
    return times


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(moments, offsets, separators), min_size=1, max_size=5))
def test_any_moment_with_any_offset(contract: Contract, given: list[tuple[datetime, timezone, str]]) -> None:
    zoned = [(moment.replace(tzinfo=zone), separator) for moment, zone, separator in given]
    texts = [moment.isoformat(separator) for moment, separator in zoned]
    assert parsed(texts, contract) == [moment.astimezone(UTC) for moment, _ in zoned]


@settings(max_examples=100, deadline=None)
@given(st.lists(moments, min_size=1, max_size=5))
def test_utc_in_the_common_form(contract: Contract, given: list[datetime]) -> None:
    texts = [moment.isoformat() + "Z" for moment in given]
    assert parsed(texts, contract) == [moment.replace(tzinfo=UTC) for moment in given]


@pytest.mark.parametrize("zone", ["Z", "z", "+00:00", "-00:00"])
@pytest.mark.parametrize(
    ("fraction", "microsecond"),
    [
        ("", 0),
        (".5", 500_000),
        (".000001", 1),
        (".1234567", 123_456),
        (".999999999", 999_999),
        (".0000009", 0),
    ],
)
def test_any_precision_is_cut_to_microseconds(
    contract: Contract, fraction: str, microsecond: int, zone: str
) -> None:
    expected = datetime(1969, 12, 31, 23, 59, 59, microsecond, tzinfo=UTC)
    assert parsed([f"1969-12-31T23:59:59{fraction}{zone}"], contract) == [expected]
