"""What is kept of imported events, as the ledger knows it and as a proof reads it again.

An import's `position_id` in the ledger is a SHA-256 over its rows of `store.imported_events`, each with the
hash of its event's bytes; and every import has an entry in the log, so the seals cover its ledger row.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from ..canonical import canonical_json
from ..ports import Connection
from ..sealed import plain

WAY = "import"
"""What the ledger's `way` says of an import: it reads no rows and writes none."""

KEPT = "SELECT * FROM store.imported_events WHERE batch >= $1 AND batch < $2 ORDER BY batch, place"


async def position_of(connection: Connection, batch: int) -> str:
    """What the ledger is to say of an import whose events stand there."""
    return position(line(row) for row in await connection.fetch(KEPT, batch, batch + 1))


def line(row: Any) -> bytes:
    """All that is kept of an event but its bytes, which its hash stands for."""
    said = {name: value for name, value in plain(row).items() if name != "event"}
    return canonical_json(said).encode()


def position(lines: Iterable[bytes]) -> str:
    return "openlineage:" + hashlib.sha256(b"\n".join(lines)).hexdigest()
