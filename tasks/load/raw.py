"""The raw form of a batch: its messages exactly as received, packed, with a digest for each."""

from io import BytesIO
from typing import Any

import polars as pl

from tasks.batch import MESSAGE_SCHEMA, RawBatch
from tasks.load.plan import Commit

DIGEST_BYTES = 32


def pack(messages: pl.DataFrame) -> bytes:
    """MESSAGE_SCHEMA (n) as an Arrow IPC file compressed with zstd; any Arrow library reads it."""
    buffer = BytesIO()
    messages.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def unpack(packed: bytes) -> pl.DataFrame:
    """The messages of a packed batch, MESSAGE_SCHEMA (n); an erased message is null."""
    return pl.read_ipc(BytesIO(packed), use_pyarrow=False).select(list(MESSAGE_SCHEMA))


def digest_at(digests: bytes, sequence: int) -> bytes:
    """The digest of one message among a batch's digests."""
    return digests[sequence * DIGEST_BYTES : (sequence + 1) * DIGEST_BYTES]


def facts_of(batch: RawBatch) -> dict[str, Any]:
    """What is stored of a batch beside its messages, by the names of its columns."""
    return {
        "dataset": batch.dataset,
        "received_at": batch.received_at,
        "received_until": batch.received_until,
        "count": batch.messages.height,
        "bytes": int(batch.messages["payload"].bin.size().sum() or 0),
    }


async def write_raw(commit: Commit) -> None:
    """Keep the batch's messages; a batch of duplicates only is kept too."""
    batch = commit.batch
    await commit.connection.execute(
        "INSERT INTO store.raw_batches "
        "(batch, dataset, received_at, received_until, count, bytes, messages, digests) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        commit.number,
        *facts_of(batch).values(),
        pack(batch.messages),
        b"".join(commit.digests),
    )
