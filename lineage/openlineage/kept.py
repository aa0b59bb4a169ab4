"""What is kept of imported events, as the ledger knows it and as a proof reads it again.

An import's `position_id` in the ledger is a SHA-256 over its rows of `store.imported_events`, each with the
hash of its event's bytes; and every import has an entry in the log, so the seals cover its ledger row.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from ..books import Books
from ..canonical import canonical_json
from ..ports import Connection
from ..sealed import plain
from ..stored import chunks

WAY = "import"
"""What the ledger's `way` says of an import: it reads no rows and writes none."""
AT_A_TIME = 200
"""Events in memory at once."""

_KEPT = "SELECT * FROM store.imported_events WHERE batch >= $1 AND batch < $2 ORDER BY batch, place"


async def position_of(connection: Connection, batch: int) -> str:
    """What the ledger is to say of an import whose events stand there."""
    return _position(_line(row) for row in await connection.fetch(_KEPT, batch, batch + 1))


async def check_events(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """The events of each import against their hashes, and all that is kept of them against the ledger."""
    lines: dict[int, list[bytes]] = {n: [] for n, row in books.ledger.items() if row["way"] == WAY}
    async for rows in chunks(connection, _KEPT, first, end, size=AT_A_TIME):
        for row in rows:
            what = f"imported_events, batch {row['batch']}"
            if row["batch"] not in lines:
                yield f"{what}: event {row['place']} is of no import in the ledger"
                continue
            lines[row["batch"]].append(_line(row))
            if hashlib.sha256(row["event"]).digest() != row["hash"]:
                yield f"{what}: event {row['place']} does not match its hash"
    for number, kept in lines.items():
        if books.ledger[number]["position_id"] != _position(kept):
            yield (
                f"imported_events, batch {number}: its {len(kept)} event(s), or what is said of them, "
                "are not those recorded"
            )


def _line(row: Any) -> bytes:
    """All that is kept of an event but its bytes, which its hash stands for."""
    said = {name: value for name, value in plain(row).items() if name != "event"}
    return canonical_json(said).encode()


def _position(lines: Iterable[bytes]) -> str:
    return "openlineage:" + hashlib.sha256(b"\n".join(lines)).hexdigest()
