"""Where a stored row came from: its batch, the exact message it was read from, the run and the code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from lineage.errors import NotFoundError, VerificationError
from lineage.identifiers import quoted, stored_table
from lineage.ports import Connection
from tasks.contract import Contract
from tasks.load.raw import beside_at, read_raw, record_at
from tasks.load.row_id import RowId
from tasks.look.row_key import Key

# The commit that wrote a batch, and the process it ran in.
_COMMIT = """
SELECT l.*, w.application FROM store.ledger l LEFT JOIN store.lineage_writers w USING (writer)
WHERE l.batch = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """The commit that wrote a row."""

    batch: int
    way: str  # how it was stored, see `Receipt.way`; "refresh": buckets of a derived table
    dataset: str
    position: str | None  # JSON, of a source that repeats exactly
    processed_at: datetime
    transformation_id: str  # NAME@VERSION: the code and its parameters
    run_id: UUID | None
    application: str | None  # the process that wrote it


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message, or a line of a file, exactly as it was received."""

    raw_batch: int  # the batch that holds it
    sequence: int  # which message of that batch
    location: str  # the topic, the URL path or the file's line
    payload: bytes | None  # None: erased
    received_at: datetime
    received_until: datetime
    beside: Mapping[str, str]  # its key, its headers, when it was sent: `raw.beside_at`


def row_query(contract: Contract, table: str | None = None) -> str:
    """The query of the rows with one key; its parameters are the key's values, so partitions are pruned."""
    wanted = " AND ".join(f"{quoted(name)} = ${number}" for number, name in enumerate(contract.key, start=1))
    return f"SELECT * FROM {stored_table(table or contract.table)} WHERE {wanted}"


async def find_row(connection: Connection, contract: Contract, key: Key) -> Mapping[str, Any]:
    """The stored row with that key, in quarantine or not; raises NotFoundError."""
    row = await connection.fetchrow(row_query(contract), *key.values())
    if row is None:
        told = ", ".join(f"{name}={value}" for name, value in key.items())
        raise NotFoundError(f"There is no row of {contract.table} with {told}.")
    return dict(row)


async def commit_of(connection: Connection, table: str, batch: int) -> LedgerRow:
    """The commit of that number, which wrote to the table; raises VerificationError when none is recorded."""
    row = await connection.fetchrow(_COMMIT, batch)
    if row is None:
        raise VerificationError([f"batch {batch} of {table} is not in the ledger"])
    return LedgerRow(**{name: row[name] for name in LedgerRow.__dataclass_fields__})


async def message_of(connection: Connection, raw_batch: int, place: RowId) -> Message:
    """The message, or the line of a file, at a place; raises VerificationError when it is not there."""
    (message,) = await messages_of(connection, raw_batch, [place])
    return message


async def messages_of(connection: Connection, raw_batch: int, places: Sequence[RowId]) -> list[Message]:
    """Some messages of a raw batch, or lines of its file: each once, in the order of the places."""
    batch = (await read_raw(connection, raw_batch)).batch
    if absent := [sequence for sequence, _ in places if sequence >= batch.messages.height]:
        raise VerificationError([f"batch {raw_batch} holds no message {max(absent)}"])
    if batch.layout is None:
        places = [(sequence, None) for sequence in dict.fromkeys(sequence for sequence, _ in places)]
    return [
        Message(
            raw_batch=raw_batch,
            sequence=sequence,
            location=location,
            payload=payload,
            received_at=batch.received_at,
            received_until=batch.received_until,
            beside=beside_at(batch, sequence),
        )
        for sequence, part in places
        for location, payload in [record_at(batch, sequence, part)]
    ]
