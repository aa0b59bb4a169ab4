"""The stored messages of a range of batches: each hashed again, their digests against the ledger's."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import polars as pl

from .books import Books
from .digest import digest_of, message_digests
from .ports import Connection
from .stored import chunks

DIGEST = 32
"""Bytes of one message's digest."""
AT_A_TIME = 8
"""Raw batches in memory at once; each is at most as large as a listener's batch."""


async def check_messages(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """The stored messages against their digests, and those against the ledger."""
    missing = {number for number, row in books.ledger.items() if row["raw_digest"] is not None}
    query = "SELECT * FROM store.raw_batches WHERE batch >= $1 AND batch < $2"
    async for rows in chunks(connection, query, first, end, size=AT_A_TIME):
        for row in rows:
            number = row["batch"]
            missing.discard(number)
            books.messages[number] = row["count"]
            ledger = books.ledger.get(number)
            if ledger is None or ledger["raw_digest"] is None:
                yield f"raw_batches: messages of batch {number}, for which the ledger has none"
                continue
            for difference in compare_raw(row, ledger["raw_digest"]):
                yield f"raw_batches, batch {number}: {difference}"
    for number in sorted(missing):
        yield f"raw_batches: the messages of batch {number} are not stored"


def compare_raw(row: Any, raw_digest: bytes) -> list[str]:
    """One stored raw batch; an erased message (null) keeps its digest, and the rest still closes."""
    digests = [row["digests"][i : i + DIGEST].hex() for i in range(0, len(row["digests"]), DIGEST)]
    found = []
    if digest_of(row["digests"]) != raw_digest:
        found.append("its digests are not those recorded")
    if len(digests) != row["count"]:
        found.append(f"{row['count']} message(s) counted, {len(digests)} digest(s) kept")
    try:
        payloads = pl.read_ipc(BytesIO(row["messages"]))["payload"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        return [*found, "its stored messages cannot be read any more"]
    if payloads.len() != row["count"]:
        return [*found, f"{row['count']} message(s) counted, {payloads.len()} stored"]
    edited = [
        str(sequence)
        for sequence, (now, then) in enumerate(zip(message_digests(payloads), digests, strict=False))
        if now is not None and now != then
    ]
    if edited:
        some = ", ".join(edited[:5]) + (", …" if len(edited) > 5 else "")
        found.append(f"{len(edited)} message(s) do not match their digest: sequence {some}")
    return found
