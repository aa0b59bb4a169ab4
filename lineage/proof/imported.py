"""Imported events: each against its hash, and all that is kept of an import against the ledger."""

import hashlib
from collections.abc import AsyncIterator

from ..openlineage.kept import KEPT, WAY, line, position
from ..ports import Connection
from ..stored import chunks
from .books import Books

AT_A_TIME = 200
"""Events in memory at once."""


async def check_events(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """The events of each import against their hashes, and all that is kept of them against the ledger."""
    lines: dict[int, list[bytes]] = {n: [] for n, row in books.ledger.items() if row["way"] == WAY}
    async for rows in chunks(connection, KEPT, first, end, size=AT_A_TIME):
        for row in rows:
            what = f"imported_events, batch {row['batch']}"
            if row["batch"] not in lines:
                yield f"{what}: event {row['place']} is of no import in the ledger"
                continue
            lines[row["batch"]].append(line(row))
            if hashlib.sha256(row["event"]).digest() != row["hash"]:
                yield f"{what}: event {row['place']} does not match its hash"
    for number, kept in lines.items():
        if books.ledger[number]["position_id"] != position(kept):
            yield (
                f"imported_events, batch {number}: its {len(kept)} event(s), or what is said of them, "
                "are not those recorded"
            )
