"""Seals: the relay writes down how far each writer's log is known; every entry belongs to exactly one seal.

    entries of many writers ─▶ spans (writer, first..last, head) ─▶ seal: number, time, digests, hash

A seal's hash covers the seal before it, so the seals are one chain over the chains of all writers: whoever
keeps one hash outside Postgres (an anchor) can show later that nothing before it was changed or cut off.
An entry is *known* from its seal on; its number orders what the graph is told.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from . import form, query_files
from .canonical import canonical_json
from .log import WRITER_LOCK, Entry, Span, Unshown, read_entries
from .model import micros
from .ports import Connection
from .projection import Projection, digest, project
from .sealed import books_digest

PAGE = 10_000
"""Entries of one seal at most."""
FIRST_HASH = bytes(32)
"""The hash before the first seal."""

# The last number and the next entry of each writer are one look each into an index, however long the log is.
# Whose last seal is the oldest comes first, so that a busy writer starves nobody, whatever its clock says.
UNSEALED = query_files.read(__package__, "unsealed.sql")
_ENTRIES = (
    "SELECT * FROM store.lineage_log WHERE writer = $1 AND number > $2 AND number <= $3 ORDER BY number"
)
_LAST = """
SELECT seal, sealed_at, total, hash, clock_timestamp() AS now FROM store.lineage_seals
ORDER BY seal DESC LIMIT 1
"""
_INSERT = """
INSERT INTO store.lineage_seals (seal, sealed_at, entries, total, digest, books, store, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_STORE = "SELECT id FROM store.identity"
_INSERT_SPANS = (
    "INSERT INTO store.lineage_spans (seal, writer, first, last, head) VALUES ($1, $2, $3, $4, $5)"
)
SEALED_ENTRIES = """
SELECT l.* FROM store.lineage_spans s
JOIN store.lineage_log l ON l.writer = s.writer AND l.number BETWEEN s.first AND s.last
WHERE s.seal = $1 ORDER BY l.writer, l.number
"""
# A writer without its lock has no connection any more, and what it committed is final; but for the chains
# that `append.py` continues from one transaction to the next.
_GONE = query_files.read(__package__, "gone_writers.sql")
_END = query_files.read(__package__, "end_writers.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A seal's hash as it is kept outside Postgres; `proved`: a proof found no difference up to it."""

    seal: int
    hash: bytes
    proved: bool = False
    at: str = field(default="", compare=False)  # when it was kept, ISO 8601


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """An anchor of another store in the file: when it was kept, and whether before the first of this one."""

    store: str
    anchor: Anchor
    at: datetime
    before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A seal with the entries it adds to what is known, and the graph they make."""

    number: int
    sealed_at: datetime
    entries: Sequence[Entry]
    projection: Projection  # with every batch as itself, folded or not
    unread: Sequence[Unshown] = ()  # entries that are none any more, or of a later version of the model

    @property
    def shown(self) -> Sequence[Entry]:
        """The entries of which the graph is told."""
        return [entry for entry in self.entries if form.cannot_be_shown(entry.edge) is None]

    @property
    def unshown(self) -> Sequence[Unshown]:
        """The entries that the graph cannot show, each with the reason."""
        reasons = ((entry, form.cannot_be_shown(entry.edge)) for entry in self.entries)
        unfit = [Unshown(entry.writer, entry.number, reason) for entry, reason in reasons if reason]
        return [*self.unread, *unfit]

    @property
    def batches(self) -> frozenset[int]:
        """The commits that made its entries."""
        return frozenset(entry.batch for entry in self.entries)

    @property
    def full(self) -> bool:
        """Whether more may have been committed than it had room for."""
        return len(self.entries) + len(self.unread) >= PAGE

    @property
    def oldest(self) -> datetime | None:
        """When the first of its entries was made; None if none of them stands there any more."""
        return min((entry.edge.created_at for entry in self.entries), default=None)


async def seal(connection: Connection) -> Seal | None:
    """Seal up to a page of the entries that are committed and not sealed yet; None when there are none.

    Call it with the relay's lock held (`relay.relay_lock`): seals are made one after the other.
    """
    async with connection.transaction():
        entries, unread, spans = await _unsealed(connection)
        if not spans:
            return None
        before = await connection.fetchrow(_LAST)
        now = await connection.fetchval("SELECT clock_timestamp()")
        number, total, previous = 1, 0, FIRST_HASH
        if before is not None:
            number, total, previous = before["seal"] + 1, before["total"], before["hash"]
            now = max(now, before["sealed_at"] + timedelta(microseconds=1))  # clocks jump, seals do not
        made = project(entries, micros(now))
        value = digest_bytes(made)
        books = await books_digest(connection, (entry.batch for entry in entries))
        store = await connection.fetchval(_STORE)
        hash_ = seal_hash(previous, number, now, spans, value, books, store)
        count = len(entries) + len(unread)
        await connection.execute(_INSERT, number, now, count, total + count, value, books, store, hash_)
        await connection.executemany(
            _INSERT_SPANS, [(number, each.writer, each.first, each.last, each.head) for each in spans]
        )
        return Seal(number=number, sealed_at=now, entries=entries, projection=made, unread=unread)


async def _unsealed(connection: Connection) -> tuple[list[Entry], list[Unshown], list[Span]]:
    entries: list[Entry] = []
    unread: list[Unshown] = []
    spans: list[Span] = []
    for row in await connection.fetch(UNSEALED):
        room = PAGE - len(entries) - len(unread)
        if room <= 0:
            break
        last = min(row["head"], row["number"] + room)
        read = await connection.fetch(_ENTRIES, row["writer"], row["number"], last)
        found, broken = read_entries(read)
        entries += found
        unread += broken
        if read:
            spans.append(Span(row["writer"], read[0]["number"], read[-1]["number"], read[-1]["hash"]))
    return entries, unread, sorted(spans, key=lambda span: span.writer)


async def read_seal(connection: Connection, number: int) -> Seal | None:
    """A seal that was made before, as its entries say; None if there is none of that number."""
    row = await connection.fetchrow("SELECT sealed_at FROM store.lineage_seals WHERE seal = $1", number)
    if row is None:
        return None
    entries, unread = read_entries(await connection.fetch(SEALED_ENTRIES, number))
    made = project(entries, micros(row["sealed_at"]))
    return Seal(number=number, sealed_at=row["sealed_at"], entries=entries, projection=made, unread=unread)


async def last_seal(connection: Connection) -> int:
    """The number of the newest seal, 0 before the first."""
    return await connection.fetchval("SELECT coalesce(max(seal), 0) FROM store.lineage_seals") or 0


async def newest(connection: Connection) -> Anchor | None:
    """The newest seal, to be kept elsewhere; None before the first."""
    row = await connection.fetchrow(_LAST)
    return Anchor(seal=row["seal"], hash=row["hash"]) if row else None


async def identity(connection: Connection) -> str:
    """Which store this is."""
    return str(await connection.fetchval("SELECT id || '/' || current_database() FROM store.identity"))


def database_of(store: str) -> str:
    """The name of the database of a store, of what `identity` says."""
    return store.partition("/")[2]


async def end_writers(connection: Connection) -> None:
    """Mark the writers whose connections are gone and whose entries are all sealed."""
    gone = [row["writer"] for row in await connection.fetch(_GONE, WRITER_LOCK)]
    try:
        await connection.execute(_END, gone)
    finally:
        for writer in gone:
            await connection.execute("SELECT pg_advisory_unlock($1, $2)", WRITER_LOCK, writer % (1 << 31))


def seal_hash(
    previous: bytes,
    number: int,
    sealed_at: datetime,
    spans: Sequence[Span],
    digest_: bytes,
    books: bytes,
    store: UUID | None,
) -> bytes:
    """SHA-256 of the hash before it and the canonical JSON of a seal, its spans in the order of writers.

    `store`: which store it was made of; None for a seal of before this was said.
    """
    content = {
        "seal": number,
        "sealed_at": micros(sealed_at),
        "digest": digest_.hex(),
        "books": books.hex(),
        "spans": [[span.writer, span.first, span.last, span.head.hex()] for span in spans],
        **({"store": str(store)} if store else {}),
    }
    return hashlib.sha256(previous + canonical_json(content).encode()).digest()


def digest_bytes(projection: Projection) -> bytes:
    """A projection's digest as 8 bytes."""
    return digest(projection).to_bytes(8, "big")
