"""A 64-bit hash per record that nobody makes without a key; sums of it stand for a set of records.

    record = for each column its length in bytes, ":" and its text; "-" for a null
    hash   = the first 8 bytes of SHA-256(key ‖ SHA-256(record) in hexadecimal), as a signed integer

The inner hash has one length, so the outer one is a pseudo-random function of its key (the cascade of
Bellare, Canetti and Krawczyk, 1996), and a sum of its values tells nothing about the sum of others.
"""

from collections.abc import Sequence

import polars as pl
import polars_hash as plh

from .keys import Key


def keyed_hashes(frame: pl.DataFrame, columns: Sequence[str], key: Key | None) -> pl.Series:
    """The hash of each record over these columns in the order given, as Int64 (n); None: an empty key.

    Columns are text, whole numbers, booleans or date-times, which count as microseconds since 1970 UTC.
    """
    if frame.is_empty():
        return pl.Series("hash", [], pl.Int64)
    record = pl.concat_str([_field(frame, name) for name in columns]).alias("record")
    inner = frame.select(record).select(plh.col("record").chash.sha2_256().alias("inner"))
    outer = pl.concat_str(pl.lit(key.secret.hex() if key else ""), "inner").alias("outer")
    digests = inner.select(outer).select(plh.col("outer").chash.sha2_256().alias("hash"))
    first = digests.select(pl.col("hash").str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64))
    return first["hash"].reinterpret(signed=True)


def _field(frame: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    if isinstance(frame.schema[name], pl.Datetime):
        column = column.dt.timestamp("us")
    text = column.cast(pl.String)
    told = pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text)
    return pl.when(text.is_null()).then(pl.lit("-")).otherwise(told)
