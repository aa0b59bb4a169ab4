"""The raw form of a batch: its messages exactly as received, packed, with a digest for each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from lineage.digest import digests_of, packed, raw_digest, unpacked
from lineage.errors import VerificationError
from lineage.ports import Connection
from tasks.batch import BESIDE_SCHEMA, MESSAGE_SCHEMA, Position, RawBatch, layout_of
from tasks.layout import exact
from tasks.load.plan import Commit

_COMPRESSED = pyarrow.ipc.IpcWriteOptions(compression="zstd")

_READ = """
SELECT b.*, l.position FROM store.raw_batches b LEFT JOIN store.ledger l USING (batch) WHERE batch = $1
"""


@dataclass(frozen=True, slots=True)
class StoredRaw:
    """A raw batch as stored; the payload of an erased message is null."""

    number: int
    batch: RawBatch
    digests: pl.Series  # of each message, hexadecimal (n)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRaw:
    """A raw batch as it is going to be stored."""

    messages: bytes
    digests: pl.Series  # of each message, hexadecimal (n)
    facts: Mapping[str, Any]  # see `facts_of`
    digest: bytes  # of all of it: `raw_digest`


def pack_raw(batch: RawBatch) -> PackedRaw:
    """A batch's messages packed, each with its digest, and the digest of it all."""
    digests, facts = digests_of(batch.messages), facts_of(batch)
    digest = raw_digest(packed(digests), batch.messages, facts)
    return PackedRaw(messages=pack(batch.messages), digests=digests, facts=facts, digest=digest)


def pack(messages: pl.DataFrame) -> bytes:
    """Messages (`RawBatch.messages`, n) as an Arrow IPC file with zstd; any Arrow library reads it.

    Written by pyarrow: Polars starts its streaming engine for it, with threads of its own.
    """
    table = messages.to_arrow(compat_level=pl.CompatLevel.oldest())
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_file(buffer, table.schema, options=_COMPRESSED) as file:
        file.write_table(table)
    file_bytes: bytes = buffer.getvalue().to_pybytes()
    return file_bytes


def unpack(file: bytes) -> pl.DataFrame:
    """The messages of a packed batch (`RawBatch.messages`, n); an erased message is null."""
    held = pl.read_ipc(BytesIO(file), use_pyarrow=False)
    return held.select(*MESSAGE_SCHEMA, *(name for name in BESIDE_SCHEMA if name in held.columns))


def record_at(batch: RawBatch, sequence: int, part: int | None) -> tuple[str, bytes | None]:
    """Where one record of a batch was read and its exact bytes; None: erased."""
    location, payload = batch.messages.select(list(MESSAGE_SCHEMA)).row(sequence)
    if batch.layout is None or part is None or payload is None:
        return location, payload
    return exact(batch.layout, location, payload, [part])[0]


def beside_at(batch: RawBatch, sequence: int) -> dict[str, str]:
    """What came beside a message, as text to look at; bytes that are not UTF-8 as in `\\xfc`."""
    held = batch.messages.select(name for name in BESIDE_SCHEMA if name in batch.messages.columns)
    row = held.row(sequence, named=True) if held.width else {}
    named = {f"header {each['name']}": each["value"] for each in row.get("headers") or ()}
    told = {
        name: _shown(value) for name, value in ({"key": row.get("key")} | named).items() if value is not None
    }
    return told | ({"sent_at": row["sent_at"].isoformat()} if row.get("sent_at") else {})


def _shown(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


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


async def write_raw(commit: Commit, raw: PackedRaw) -> None:
    """Keep the batch's messages; a batch of duplicates only is kept too."""
    await commit.connection.execute(
        "INSERT INTO store.raw_batches "
        "(batch, dataset, received_at, received_until, count, bytes, layout, messages, digests) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        commit.number,
        *raw.facts.values(),
        raw.messages,
        packed(raw.digests),
    )


async def read_raw(connection: Connection, number: int) -> StoredRaw:
    """A raw batch as it was received; raises VerificationError when it is not stored."""
    row = await connection.fetchrow(_READ, number)
    if row is None:
        raise VerificationError([f"the messages of batch {number} are not stored"])
    detail = json.loads(row["position"]) if row["position"] else None
    batch = RawBatch(
        dataset=row["dataset"],
        messages=unpack(row["messages"]),
        received_at=row["received_at"],
        received_until=row["received_until"],
        position=Position(source=detail.pop("source"), detail=detail) if detail else None,
        layout=layout_of(row["layout"]),
    )
    return StoredRaw(number, batch, unpacked(row["digests"]))
