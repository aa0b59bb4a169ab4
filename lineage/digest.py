"""Hashes of messages, rows and log entries, each defined so that anyone can compute it again.

* a message: SHA-256 of its bytes as received;
* a row: xxHash64 (seed 0) of its canonical text (see `row_hashes`), a signed 64-bit integer;
* a batch of messages: SHA-256 of their digests in order and of what is said of them (see `raw_digest`);
* a set of rows: the sum of their row hashes modulo 2^64, so that the order does not matter;
* a log entry: SHA-256 over the hash of the entry before it and its canonical JSON (see `log.py`).

A row's hash finds an edited value; it is not a defence against a forger, who could search for a
collision. The message digests are: a row can always be computed again from its message.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
import polars_hash as plh

from .model import micros

FIELD_SEPARATOR = "\x1f"
NULL = "\x00"  # no field can hold a NUL character: Postgres stores none
RAW_FACTS = ("dataset", "received_at", "received_until", "count", "bytes", "layout")
_MASK = (1 << 64) - 1


def message_digest(payload: bytes) -> bytes:
    """SHA-256 of one message, 32 bytes."""
    return hashlib.sha256(payload).digest()


def message_digests(payloads: pl.Series) -> pl.Series:
    """SHA-256 of each message (Binary, n) as Binary of 32 bytes (n)."""
    digests = payloads.to_frame("payload").select(
        plh.col("payload").chash.sha2_256().str.decode("hex").alias("digest")
    )
    return digests["digest"]


def raw_digest(digests: bytes, locations: Sequence[str | None], facts: Mapping[str, Any]) -> bytes:
    """SHA-256 of a batch's message digests, one after the other, and the canonical JSON of the rest.

    The rest are the messages' locations and `RAW_FACTS` of the batch, times in microseconds since 1970 UTC.
    So a message can be erased, and neither where it came from nor when can be changed.
    """
    rest = {"locations": list(locations), **{name: _fact(facts[name]) for name in RAW_FACTS}}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(digests + text.encode()).digest()


def _fact(value: Any) -> Any:
    return micros(value) if isinstance(value, datetime) else value


def row_hashes(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """xxHash64 of each row's canonical text, as Int64 (n).

    The canonical text joins the columns, in the order given, with U+001F. A null is U+0000; a string
    is its length in bytes, a colon and itself; a float is its IEEE 754 double bits read as a signed
    integer (minus zero counts as zero); a date-time is microseconds since 1970 UTC; a date is days;
    a boolean is `true` or `false`; an integer is itself.
    """
    fields = [_canonical(name, frame.schema[name]).fill_null(NULL) for name in columns]
    text = pl.concat_str(fields, separator=FIELD_SEPARATOR).alias("text")
    hashes = frame.select(text).select(plh.col("text").nchash.xxhash64().reinterpret(dtype=pl.Int64))
    return hashes["text"].alias("row_hash")


def _canonical(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return pl.concat_str(column.str.len_bytes().cast(pl.String), pl.lit(":"), column)
    if dtype.is_float():
        # Not `+ 0.0`: Polars leaves a column of more than one row as it is.
        unsigned = pl.when(column == 0.0).then(0.0).otherwise(column.cast(pl.Float64))
        return unsigned.reinterpret(dtype=pl.Int64).cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        return column.dt.timestamp("us").cast(pl.String)
    if dtype == pl.Date:
        return column.to_physical().cast(pl.String)
    if dtype.is_integer() or dtype == pl.Boolean:
        return column.cast(pl.String)
    raise TypeError(f"a column of type {dtype} has no canonical text")


def sum_of(hashes: pl.Series) -> int:
    """The sum of row hashes modulo 2^64, as a signed 64-bit integer."""
    low = hashes.cast(pl.Int64) & 0xFFFFFFFF
    high = hashes.cast(pl.Int64) // (1 << 32)
    return signed((int(low.sum() or 0) + (int(high.sum() or 0) << 32)) & _MASK)


def signed(value: int) -> int:
    """A number modulo 2^64 as the signed integer Postgres stores."""
    value &= _MASK
    return value - (1 << 64) if value >= 1 << 63 else value
