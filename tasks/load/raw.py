"""The raw form of a batch: its messages exactly as received, packed, with a digest for each."""

from io import BytesIO
from typing import Any

import polars as pl

from lineage.digest import packed
from tasks.batch import MESSAGE_SCHEMA, Layout, RawBatch
from tasks.layout import exact
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


def record_at(
    messages: pl.DataFrame, layout: Layout | None, sequence: int, part: int | None
) -> tuple[str, bytes | None]:
    """Where one record was read and its exact bytes, among a batch's messages; None: erased."""
    location, payload = messages.row(sequence)
    if layout is None or part is None or payload is None:
        return location, payload
    return exact(layout, location, payload, [part])[0]


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
        "layout": batch.layout.text() if batch.layout else None,
    }


async def write_raw(commit: Commit, messages: bytes) -> None:
    """Keep the batch's messages, packed; a batch of duplicates only is kept too."""
    batch = commit.batch
    await commit.connection.execute(
        "INSERT INTO store.raw_batches "
        "(batch, dataset, received_at, received_until, count, bytes, layout, messages, digests) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        commit.number,
        *facts_of(batch).values(),
        messages,
        packed(commit.digests),
    )
