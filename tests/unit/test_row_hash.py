"""A row's hash is what `lineage/digest.py` says it is: written again here without Polars' arithmetic."""

import struct
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import polars_hash as plh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.digest import row_hashes

NULL, MULTIPLIER, WORD = 0x7FF84E554C4C0000, 0x2545F4914F6CDD1D, 1 << 64
SCHEMA = pl.Schema(
    {
        "text": pl.String,
        "float": pl.Float64,
        "other": pl.Float64,
        "moment": pl.Datetime("us", "UTC"),
        "day": pl.Date,
        "whole": pl.Int64,
        "truth": pl.Boolean,
        "small": pl.Int32,
        "exact": pl.Decimal(38, 6),
    }
)
ROWS = st.tuples(
    st.none() | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=9),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.dates(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.decimals(-(10**20), 10**20, places=6),
)


def word(value: object) -> int:
    match value:
        case None:
            return NULL
        case str():
            return int(pl.DataFrame({"t": [value]}).select(plh.col("t").nchash.xxhash64()).item())
        case float():
            return int(struct.unpack("<Q", struct.pack("<d", value or 0.0))[0])
        case datetime():
            span = value - datetime(1970, 1, 1, tzinfo=UTC)
            return (span.days * 86_400_000_000 + span.seconds * 1_000_000 + span.microseconds) % WORD
        case date():
            return (value - date(1970, 1, 1)).days % WORD
        case int():
            return int(value) % WORD
        case Decimal():
            text = format(value if value else value.copy_abs(), "f")
            return word(text.rstrip("0").removesuffix("."))
    raise AssertionError(value)


def expected(row: tuple[object, ...]) -> int:
    mixed = 0
    for each in (*map(word, row), len(row)):
        mixed = (mixed ^ each) * MULTIPLIER % WORD
        mixed ^= mixed >> 32
    return mixed - WORD if mixed >= WORD // 2 else mixed


@settings(deadline=None)
@given(st.lists(ROWS, max_size=5))
def test_it_is_as_defined(rows: list[tuple[object, ...]]) -> None:
    frame = pl.DataFrame(rows, SCHEMA, orient="row")
    assert row_hashes(frame, frame.columns).to_list() == [expected(row) for row in rows]


def test_xxhash64_is_the_published_one() -> None:
    """The test vectors of its author: no library's update may change what is stored."""
    texts = pl.DataFrame({"t": ["", "abc"]}).select(plh.col("t").nchash.xxhash64())
    assert texts.to_series().to_list() == [0xEF46DB3751D8E999, 0x44BC2CF5AD770999]


@pytest.mark.parametrize("name", SCHEMA.names())
def test_an_edited_value_and_two_swapped_ones_are_seen(name: str) -> None:
    frame = pl.DataFrame(
        [
            (
                "a",
                20.5,
                0.5,
                datetime(2026, 11, 1, tzinfo=UTC),
                date(2026, 11, 1),
                1,
                True,
                1,
                Decimal("0.10"),
            ),
            ("b", 21.5, 1.5, datetime(2026, 11, 2, tzinfo=UTC), date(2026, 11, 2), 2, False, 2, Decimal(10)),
        ],
        SCHEMA,
        orient="row",
    )
    swapped = frame.with_columns(pl.col(name).reverse())
    before, after = (row_hashes(each, frame.columns).to_list() for each in (frame, swapped))
    assert not set(before) & set(after)
    assert sum(before) % WORD != sum(after) % WORD
