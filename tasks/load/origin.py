"""Where a stored row came from: its batch, the exact message it was read from, the run and the code."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from infra.postgres import Pool, translated
from lineage.errors import NotFoundError, VerificationError
from tasks.batch import layout_of
from tasks.contract import POSTGRES_TYPES, Contract
from tasks.load.raw import record_at, unpack

# The commit that wrote a batch, and the bytes it was made from.
_COMMIT = """
SELECT l.dataset, l.position, l.processed_at, l.transformation_id, l.run_id,
       r.received_at, r.received_until, r.layout, r.messages
FROM store.ledger l JOIN store.raw_batches r ON r.batch = $2 WHERE l.batch = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A row and what it was made from."""

    table: str
    row: Mapping[str, Any]
    batch: int  # the commit that wrote it
    raw_batch: int  # the batch that holds its bytes
    sequence: int  # which message of that batch
    part: int | None  # which row of that message
    dataset: str
    position: str | None  # JSON, of a source that repeats exactly
    location: str
    payload: bytes | None  # as received; None: erased
    received_at: datetime
    received_until: datetime
    processed_at: datetime
    transformation_id: str
    run_id: UUID | None


async def origin_of(pool: Pool, contract: Contract, key: Mapping[str, str]) -> Origin:
    """The origin of the row with that key (column → text); raises NotFoundError."""
    types = {column.name: POSTGRES_TYPES[column.type] for column in contract.columns}
    wanted = " AND ".join(
        f"{name} = ${number}::text::{types[name]}" for number, name in enumerate(contract.key, start=1)
    )
    values = [key[name] for name in contract.key]
    with translated():
        row = await pool.fetchrow(f"SELECT * FROM store.{contract.table} WHERE {wanted}", *values)
        if row is None:
            raise NotFoundError(f"There is no row of {contract.table} with the key {', '.join(values)}.")
        raw_batch = row["raw_batch"] or row["batch"]
        commit = await pool.fetchrow(_COMMIT, row["batch"], raw_batch)
    if commit is None:
        raise VerificationError([f"batch {row['batch']} of {contract.table} is not in the ledger"])
    layout = layout_of(commit["layout"])
    location, payload = record_at(unpack(commit["messages"]), layout, row["sequence"], row["part"])
    return Origin(
        table=contract.table,
        row=dict(row),
        batch=row["batch"],
        raw_batch=raw_batch,
        sequence=row["sequence"],
        part=row["part"],
        dataset=commit["dataset"],
        position=commit["position"],
        location=location,
        payload=payload,
        received_at=commit["received_at"],
        received_until=commit["received_until"],
        processed_at=commit["processed_at"],
        transformation_id=commit["transformation_id"],
        run_id=commit["run_id"],
    )
