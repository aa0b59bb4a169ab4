"""Minus zero and zero are one value to a row's hash, however many rows there are."""

import polars as pl
import pytest

from lineage.digest import row_hashes


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_minus_zero_counts_as_zero(rows: int) -> None:
    minus, plus = pl.DataFrame({"x": [-0.0] * rows}), pl.DataFrame({"x": [0.0] * rows})
    assert row_hashes(minus, ["x"]).to_list() == row_hashes(plus, ["x"]).to_list()
    assert len(set(row_hashes(minus, ["x"]))) == 1
