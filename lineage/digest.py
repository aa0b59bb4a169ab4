"""Hashes of messages, rows and log entries, each defined so that anyone can compute it again.

* a message: SHA-256 of its bytes as received, with its key and headers where it has any (see `digests_of`);
* a row: a 64-bit number made of one 64-bit word per column (see `row_hashes`), read as a signed integer:
  input hashes, acts, and rows of commits from before `row_digest.py`;
* a batch of messages: SHA-256 of their digests in order and of what is said of them (see `raw_digest`);
* a set of rows of those: the sum of their row hashes modulo 2^64, so that the order does not matter;
* a log entry: SHA-256 over the hash of the entry before it and its canonical JSON (see `log.py`).

A row's hash finds an edited value; it is not a defence against a forger, who could search for a
collision. The message digests are: a row can always be computed again from its message.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import polars as pl
import polars_hash as plh

from .canonical import canonical_json
from .model import micros

if TYPE_CHECKING:
    import numpy.typing as npt

# Polars loads its numpy at the first array it meets, and fails if two threads meet one at once.
pl.Series(np.empty(0))

NULL: Final = 0x7FF8_4E55_4C4C_0000
"""The word of a null: no time, no text's hash but by chance, and as a double a NaN that no store takes."""
MULTIPLIER: Final = np.uint64(0x2545_F491_4F6C_DD1D)
"""Odd, so that multiplying by it modulo 2^64 loses nothing."""
DIGEST_BYTES: Final = 32
_HALF: Final = np.uint64(32)
RAW_FACTS: Final = ("dataset", "received_at", "received_until", "count", "bytes", "layout")
_MASK = (1 << 64) - 1

Words: TypeAlias = "npt.NDArray[np.uint64]"


def message_digest(payload: bytes) -> bytes:
    """SHA-256 of one message, 32 bytes."""
    return hashlib.sha256(payload).digest()


def message_digests(payloads: pl.Series) -> pl.Series:
    """SHA-256 of each message (Binary, n) as 64 hexadecimal digits (String, n); null for a null."""
    digests = payloads.to_frame("payload").select(plh.col("payload").chash.sha2_256().alias("digest"))
    return digests["digest"]


def digests_of(messages: pl.DataFrame) -> pl.Series:
    """The digest of each message (`payload`, and where some have them `key` and `headers`; n), as above.

    With a key or headers it is the SHA-256 of the text `PAYLOAD/KEY/HEADERS`: the payload's SHA-256, the key,
    and `NAME=VALUE` for each header in order with commas between, all in hexadecimal; `-` for what is not
    there.
    """
    plain = message_digests(messages["payload"])
    beside = [name for name in ("key", "headers") if name in messages.columns]
    if not beside:
        return plain
    frame = messages.rechunk().select(
        _hex(pl.col("key")) if "key" in beside else pl.lit("-").alias("key"),
        _headers() if "headers" in beside else pl.lit("-").alias("headers"),
        has_any=pl.any_horizontal(pl.col(name).is_not_null() for name in beside),
    )
    text = frame.with_columns(plain).select(
        pl.concat_str("digest", "key", "headers", separator="/"), "has_any"
    )
    whole = text.with_columns(plh.col("digest").chash.sha2_256().alias("whole"), plain=plain)
    return whole.select(pl.when("has_any").then("whole").otherwise("plain").alias("digest")).to_series()


def _hex(value: pl.Expr) -> pl.Expr:
    return value.bin.encode("hex").fill_null("-")


def _headers() -> pl.Expr:
    each = pl.element().struct
    pair = pl.concat_str(_hex(each.field("name").cast(pl.Binary)), _hex(each.field("value")), separator="=")
    return pl.col("headers").list.eval(pair).list.join(",").fill_null("-")


def packed(digests: pl.Series) -> bytes:
    """Digests (String, n) as bytes, 32 for each."""
    return bytes.fromhex(digests.str.join("").item())


def unpacked(digests: bytes) -> pl.Series:
    """Digests (String, n) from bytes, 32 for each."""
    each = [digests[i : i + DIGEST_BYTES].hex() for i in range(0, len(digests), DIGEST_BYTES)]
    return pl.Series("digest", each, dtype=pl.String)


def raw_digest(digests: bytes, messages: pl.DataFrame, facts: Mapping[str, Any]) -> bytes:
    """SHA-256 of a batch's message digests, one after the other, and the canonical JSON of the rest.

    The rest are the messages' locations, `RAW_FACTS` of the batch, times in microseconds since 1970 UTC, and
    where the messages have a `sent_at` the SHA-256 of these times as 64-bit little-endian integers, the
    smallest for one that is not known. So a message can be erased, and neither where it came from nor
    when can be changed.
    """
    rest = {"locations": messages["location"].to_list(), **{name: _fact(facts[name]) for name in RAW_FACTS}}
    if "sent_at" in messages.columns:
        times = messages["sent_at"].dt.timestamp("us").fill_null(-(1 << 63)).to_numpy().astype("<i8")
        rest["sent_at"] = hashlib.sha256(times.tobytes()).hexdigest()
    text = canonical_json(rest)
    return hashlib.sha256(digests + text.encode()).digest()


def _fact(value: Any) -> Any:
    return micros(value) if isinstance(value, datetime) else value


def row_hashes(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """The hash of each row over these columns, in the order given, as Int64 (n).

    Every column gives a 64-bit word: a text the xxHash64 (seed 0) of its UTF-8; a float its IEEE 754 double
    bits (minus zero counts as zero); a date-time microseconds since 1970 UTC; a date days; an integer itself;
    a decimal the xxHash64 of its shortest text (`-0.5`, `12`, `12.3`); a boolean 0 or 1; a null NULL. The
    words are mixed into h, which begins as 0, one after the other, and the number of columns last:
    h = (h XOR word) * MULTIPLIER modulo 2^64, then h = h XOR (h >> 32). Each step can be undone, so an edit
    of one value always changes the hash.
    """
    words = frame.select(_words(tuple((name, frame.schema[name]) for name in columns)))
    mixed = np.zeros(frame.height, np.uint64)  # Polars would need four eager calls for each column
    for column in words.iter_columns():
        _mix(mixed, column.to_numpy())
    _mix(mixed, np.uint64(len(columns)))
    return pl.Series("row_hash", mixed.view(np.int64))


def _mix(mixed: Words, word: "Words | np.uint64") -> None:
    mixed ^= word
    mixed *= MULTIPLIER
    mixed ^= mixed >> _HALF


@lru_cache(maxsize=256)
def _words(columns: tuple[tuple[str, pl.DataType], ...]) -> tuple[pl.Expr, ...]:
    return tuple(_word(name, dtype).fill_null(NULL).alias(name) for name, dtype in columns)


def _word(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return plh.col(name).nchash.xxhash64()
    if dtype.is_float():
        # Not `+ 0.0`: Polars leaves a column of more than one row as it is.
        unsigned = pl.when(column == 0.0).then(0.0).otherwise(column.cast(pl.Float64))
        return unsigned.reinterpret(dtype=pl.UInt64)
    if isinstance(dtype, pl.Datetime):
        return column.dt.timestamp("us").reinterpret(dtype=pl.UInt64)
    if dtype == pl.UInt64:
        return column
    if isinstance(dtype, pl.Decimal):
        return plh.NonCryptographicHashingNameSpace(_shortest(column, dtype)).xxhash64()
    if dtype == pl.Date or dtype.is_integer() or dtype == pl.Boolean:
        return column.to_physical().cast(pl.Int64).reinterpret(dtype=pl.UInt64)
    raise TypeError(f"a column of type {dtype} has no word")


def _shortest(column: pl.Expr, dtype: pl.Decimal) -> pl.Expr:
    """A decimal as text, without zeros that count for nothing: the same whatever its column's digits."""
    text = column.cast(pl.String)
    return text.str.strip_chars_end("0").str.strip_suffix(".") if dtype.scale else text


def sum_of(hashes: pl.Series) -> int:
    """The sum of row hashes modulo 2^64, as a signed 64-bit integer."""
    return int(hashes.cast(pl.Int64).to_numpy().sum(dtype=np.int64))  # as a sum of unsigned numbers would


def signed(value: int) -> int:
    """A number modulo 2^64 as the signed integer Postgres stores."""
    value &= _MASK
    return value - (1 << 64) if value >= 1 << 63 else value
