"""Numbers of things in sentences."""

import pytest

from lineage.counted import counted


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2_000, "row", "2,000 rows"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
    ],
)
def test_one_and_many(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said
