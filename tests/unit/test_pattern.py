"""Which topics fit a filter, as MQTT 3.1.1 says in chapter 4.7."""

import polars as pl
import pytest

from tasks.pattern import topic_pattern
from tasks.transform.reading_rules import LOCATION


@pytest.mark.parametrize(
    ("topic_filter", "fits", "not_"),
    [
        ("a/b", ["a/b"], ["a/b/", "a", "a/b/c", "/a/b", "A/b"]),
        ("a/+", ["a/b", "a/", "a/é ✓"], ["a", "a/b/c", "b/a"]),
        ("+/b", ["a/b", "/b"], ["a/b/c", "b"]),
        ("a/#", ["a", "a/", "a/b", "a/b/c", "a/b\nc"], ["ab", "b/a", "/a"]),
        ("a/+/#", ["a/b", "a/b/c", "a/"], ["a", "b/b"]),
        ("+/+/#", ["a/b", "/", "a/b/c"], ["a"]),
        ("#", ["a", "a/b", "", "/"], []),
        ("/#", ["/", "/a", "/a/b"], ["a", "a/b"]),
        ("a.b/$x(y)", ["a.b/$x(y)"], ["aXb/$x(y)"]),
    ],
)
def test_a_topic_fits_or_does_not(topic_filter: str, fits: list[str], not_: list[str]) -> None:
    frame = pl.DataFrame({LOCATION: [*fits, *not_]})
    broken = frame.select(~topic_pattern(topic_filter).fits(pl.col(LOCATION))).to_series()
    assert broken.to_list() == [False] * len(fits) + [True] * len(not_)
