"""The stored messages of a range of batches: each hashed again, their digests against the ledger's."""

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import polars as pl

from .. import query_files
from ..acts import ERASURES
from ..digest import digests_of, raw_digest, unpacked
from ..ports import Connection
from ..stored import chunks
from .books import Books
from .entries import RAW

AT_A_TIME = 8
"""Raw batches in memory at once; each is at most as large as a listener's batch."""

# An erasure counts if the log says so: raw batch → act, with the sequences.
_ERASED = query_files.read(__package__, "erased_messages.sql").format(raw=RAW, erasures=ERASURES)


async def check_messages(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """The stored messages against their digests, and those against the ledger."""
    missing = {number for number, row in books.ledger.items() if row["raw_digest"] is not None}
    erased = await _erased(connection, first, end)
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
            for difference in compare_raw(row, ledger["raw_digest"], erased.get(number, frozenset())):
                yield f"raw_batches, batch {number}: {difference}"
    for number in sorted(missing):
        yield f"raw_batches: the messages of batch {number} are not stored"


async def _erased(connection: Connection, first: int, end: int) -> dict[int, frozenset[int]]:
    """Batch → the sequences of its messages that were erased on purpose."""
    rows = await connection.fetch(_ERASED, first, end)
    return {row["batch"]: frozenset(row["sequences"]) for row in rows}


def compare_raw(row: Any, recorded: bytes, erased: frozenset[int]) -> list[str]:
    """One stored raw batch; an erased message (null) keeps its digest, and the rest still closes."""
    digests = unpacked(row["digests"])
    found = []
    if len(digests) != row["count"]:
        found.append(f"{row['count']} message(s) counted, {len(digests)} digest(s) kept")
    try:
        messages = pl.read_ipc(BytesIO(row["messages"]))
        payloads = messages["payload"]
        now = digests_of(messages).to_list()
        whole = raw_digest(row["digests"], messages, row)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        return [*found, "its stored messages cannot be read any more"]
    if whole != recorded:
        found.append("its digests, locations, dataset, times or size are not those recorded")
    if payloads.len() != row["count"]:
        return [*found, f"{row['count']} message(s) counted, {payloads.len()} stored"]
    pairs = enumerate(zip(digests, now, strict=False))  # another number of digests is told above
    edited = [n for n, (then, is_) in pairs if is_ is not None and is_ != then]
    gone = [n for n, digest in enumerate(now) if digest is None and n not in erased]
    if edited:
        found.append(f"{len(edited)} message(s) do not match their digest: sequence {_some(edited)}")
    if gone:
        found.append(f"{len(gone)} message(s) are gone and no erasure is recorded: sequence {_some(gone)}")
    return found


def _some(sequences: list[int]) -> str:
    return ", ".join(str(each) for each in sequences[:5]) + (", …" if len(sequences) > 5 else "")
