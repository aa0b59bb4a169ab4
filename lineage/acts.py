"""What people do to what is stored: who, why and with what, as the log's entry of an act says it."""

import hashlib
import json
from typing import Any

from . import naming
from .model import micros
from .ports import Connection
from .stored import chunks

QUARANTINE = naming.postgres("quarantine")
ERASURES = naming.postgres("erasures")

_ACT = "SELECT kind, selection, reason, by_whom, run_id, at FROM store.recalls WHERE act = $1"
_ROWS = """
SELECT key, table_name, batch, released FROM store.quarantine WHERE act = $1 ORDER BY key COLLATE "C"
"""


async def digest_of(connection: Connection, act: int) -> str:
    """SHA-256 of who did it and why, and of its rows; `connection` must be in a transaction."""
    who = await connection.fetchrow(_ACT, act)
    total = hashlib.sha256(_line(*who[:5], micros(who["at"])) if who else b"")
    async for rows in chunks(connection, _ROWS, act):
        for row in rows:
            total.update(_line(*row))
    return total.hexdigest()


def _line(*values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False, default=str).encode() + b"\n"
