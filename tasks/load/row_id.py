"""Which row of a batch: the message it was read from, and which row of that message."""

from collections.abc import Sequence

import polars as pl

from infra.postgres import Row

ROW = ["sequence", "part"]
RowId = tuple[int, int | None]
"""The values of `ROW`."""


def without(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The rows that are not among the others, in their order."""
    return rows.join(others, on=ROW, how="anti", nulls_equal=True, maintain_order="left")


def only(rows: pl.DataFrame, wanted: Sequence[Row]) -> pl.DataFrame:
    """The rows whose (sequence, part) came back from Postgres, in their order."""
    pairs = pl.DataFrame(
        [(row["sequence"], row["part"]) for row in wanted],
        schema=dict.fromkeys(ROW, pl.Int32),
        orient="row",
    )
    return rows.join(pairs, on=ROW, how="semi", nulls_equal=True, maintain_order="left")
