"""The contracts that tables were prepared for: each against its hash, which names it."""

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

from ..ports import Connection

LAYOUTS = range(1, 100)
"""What may stand before the text that is hashed: which layout of tables was made for it."""

_STORED = "SELECT table_name, version, hash, contract FROM store.contracts ORDER BY table_name, hash"


async def check_contracts(connection: Connection) -> AsyncIterator[str]:
    """A sentence for each that is not the text its hash is of, or is kept under another name or version."""
    for row in await connection.fetch(_STORED):
        if not _is_as_prepared(row):
            what = f"version {row['version']} of {row['table_name']}"
            yield f"contracts: {what} is not the one it was prepared for"


def _is_as_prepared(row: Any) -> bool:
    try:
        said = json.loads(row["contract"])
        named = (said["table"], said["version"]) == (row["table_name"], row["version"])
    except (ValueError, TypeError, KeyError):
        return False
    hashes = (hashlib.sha256(f"{layout} {row['contract']}".encode()).hexdigest() for layout in LAYOUTS)
    return named and row["hash"] in hashes
