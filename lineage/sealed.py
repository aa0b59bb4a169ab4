"""What a seal says of the ledger: one SHA-256 over the books of the batches whose entries it adds.

The log says what a batch was made from; the ledger says how many records it read, when and by which
transformation, and holds the sums of its rows and rejected records and the digest of its messages. With the
books in the seals, nothing of that can change without another seal hash.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from .canonical import canonical_json
from .model import micros
from .ports import Connection

_LEDGER = "SELECT * FROM store.ledger WHERE batch = ANY($1) ORDER BY batch"
_OUTPUTS = """
SELECT * FROM store.ledger_outputs WHERE batch = ANY($1) ORDER BY batch, table_name, bucket, rows, values_sum
"""


async def books_digest(connection: Connection, batches: Iterable[int]) -> bytes:
    """SHA-256 of the canonical JSON of every ledger row and output of these batches."""
    numbers = sorted(set(batches))
    rows = [plain(row) for row in await connection.fetch(_LEDGER, numbers)]
    outputs = [plain(row) for row in await connection.fetch(_OUTPUTS, numbers)]
    text = canonical_json([rows, outputs])
    return hashlib.sha256(text.encode()).digest()


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON takes it, without its nulls: a column that is added later changes no digest of before."""
    return {name: _value(value) for name, value in row.items() if value is not None}


def _value(value: Any) -> Any:
    match value:
        case datetime():
            return micros(value)
        case bytes():
            return value.hex()
        case UUID():
            return str(value)
    return value
