"""Rows of the rejected half: which rules a record broke, and one sentence about it for a person."""

from collections.abc import Mapping

import polars as pl

from tasks.batch import REJECTED_SCHEMA
from tasks.transform.validate import RULES


def rejected(
    frame: pl.DataFrame, stage: str, sentences: Mapping[str, str], table: str | None = None
) -> pl.DataFrame:
    """Rejected rows (REJECTED_SCHEMA, n) of rows (n) with at least `sequence` and RULES (List(String)).

    `key`, `input_hash` and `detail` (of the sentence) are taken where the frame has them. `error_type` is the
    kind of the first rule.
    """
    if frame.is_empty():
        return REJECTED_SCHEMA.to_frame()
    known = [
        pl.col(name) if name in frame.columns else pl.lit(None).alias(name)
        for name in ("part", "key", "input_hash")
    ]
    rules = pl.col(RULES)
    said = rules.list.eval(pl.element().replace(sentences)).list.join("; ")
    if "detail" in frame.columns:
        said = said + pl.format(": {}", "detail").fill_null("")
    return frame.select(
        "sequence",
        *known,
        rules.alias("rules"),
        pl.lit(stage).alias("stage"),
        rules.list.first().str.extract(r"([^.]+)$").alias("error_type"),
        (said + ".").alias("message"),
        pl.lit(table).alias("table"),
    ).select(pl.col(name).cast(dtype) for name, dtype in REJECTED_SCHEMA.items())
