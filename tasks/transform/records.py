"""Records of one table: from the messages as received to its rows, and what was rejected.

    payloads ─decode─▶ cells ─judge─▶ accepted
                                └───▶ rejected, filtered

The same message gets the same verdict in any batch (`judge.py`).
"""

from functools import partial

import polars as pl

from tasks.batch import ORIGIN_SCHEMA, RawBatch, Reference, Refined
from tasks.contract import Contract
from tasks.decode import chunk
from tasks.decode.messages import Decoder
from tasks.pattern import Pattern
from tasks.transform import reading_rules
from tasks.transform.columns import Columns, edges_of
from tasks.transform.judge import judge, plan, plan_of_values, refined
from tasks.transform.steps.kinds import Steps
from tasks.transform.validate import fill_defaults


def refine(
    batch: RawBatch,
    reference: Reference,
    decoder: Decoder,
    pattern: Pattern | None = None,
    steps: Steps | None = None,
) -> Refined:
    """Decode, validate, compute and deduplicate one batch of messages, or one part of a file."""
    contract, decoded = decoder.contract, chunk.decode_batch(batch, decoder)
    values = reading_rules.values(decoded.records, batch, contract, pattern)
    judged = judge(values, decoded, batch, contract, pattern=pattern, steps=steps, reference=reference)
    rows = {contract.table: chunk.in_message(_rows(judged.kept, contract), batch)}
    return refined(rows, [judged.at(partial(chunk.in_message, batch=batch))])


def columns(
    contract: Contract, source: str, pattern: Pattern | None = None, steps: Steps | None = None
) -> Columns:
    """What each column of the table comes from, in a batch of `source` (a URI)."""
    values = plan_of_values(contract, source, pattern=pattern)
    made = plan(values, contract, pattern=pattern, steps=steps)
    return {contract.table: edges_of(made, contract, source)}


def _rows(kept: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The accepted rows in contract order, then where they came from."""
    schema = pl.Schema({**contract.row_schema, **ORIGIN_SCHEMA})
    filled = fill_defaults(kept, contract).with_columns(part=pl.lit(None, ORIGIN_SCHEMA["part"]))
    rows = filled.select(*schema)
    return rows if rows.schema == schema else rows.cast(schema)
