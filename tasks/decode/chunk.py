"""Records of a batch to typed cells, however they stand in its messages; see `tasks/layout.py`.

Here a record's `sequence` is its number in the batch; `in_message` turns it into message and part at the end.
"""

from io import BytesIO

import polars as pl

from tasks.batch import Format, RawBatch
from tasks.decode import cells, tabular
from tasks.decode.messages import Decoded, Decoder, unread
from tasks.decode.payload import PAYLOAD_SENTENCES
from tasks.layout import records_in

_PARQUET = "payload.parquet"


def decode_batch(batch: RawBatch, decoder: Decoder) -> Decoded:
    """Every record of the batch that is not left out, decoded or not."""
    found = _decode(batch, decoder)
    if batch.left_out is None:
        return found
    records, undecodable = (
        _read_again(rows, batch, batch.left_out) for rows in (found.records, found.undecodable)
    )
    return Decoded(records, undecodable, found.sentences)


def _decode(batch: RawBatch, decoder: Decoder) -> Decoded:
    payloads, layout, contract = batch.messages["payload"], batch.layout, decoder.contract
    if layout is None:
        return decoder.decode(payloads)
    held = payloads[-1]
    if layout.refused:
        rule = _PARQUET if layout.format is Format.PARQUET else tabular.ENCODING
        return unread(rule, layout.refused, contract)
    if layout.format is Format.NDJSON:
        records = records_in(held, layout).payloads
        return decoder.decode(pl.Series("payload", records, dtype=pl.Binary))
    if layout.format is Format.CSV:
        before = payloads[0] if payloads.len() > 1 else b""
        return tabular.decode_csv(before, held, layout, contract)
    try:
        rows = pl.read_ipc(BytesIO(held), use_pyarrow=False)
    except (pl.exceptions.PolarsError, OSError):  # a part of a file that is not Parquet
        return unread(_PARQUET, PAYLOAD_SENTENCES[_PARQUET], contract)
    return tabular.decode_rows(rows, layout, contract)


def _read_again(rows: pl.DataFrame, batch: RawBatch, left_out: pl.DataFrame) -> pl.DataFrame:
    """The rows (with `sequence`, n) of records that are not left out of the batch."""
    if batch.layout is None:
        return rows.filter(~pl.col(cells.SEQUENCE).is_in(left_out["sequence"].implode()))
    parts = left_out["part"]
    if parts.has_nulls():
        return rows.clear()
    is_left_out = pl.col(cells.SEQUENCE).is_in(parts.implode()).fill_null(False)  # null: of no single record
    return rows.filter(~is_left_out)


def in_message(rows: pl.DataFrame, batch: RawBatch) -> pl.DataFrame:
    """Rows with `sequence` and `part` of the message that holds them.

    What stands before no records is itself what is rejected.
    """
    if batch.layout is None:
        return rows
    held = 0 if _is_blank(batch.messages["payload"][-1]) else batch.messages.height - 1
    return rows.with_columns(part=pl.col(cells.SEQUENCE), sequence=pl.lit(held, dtype=pl.Int32))


def _is_blank(payload: bytes) -> bool:
    return not payload or payload.isspace()
