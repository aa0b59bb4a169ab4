"""What is said of batches by their number: their rows, messages, rejected records, entries and edges.

verify_batch: one, as its flow ends        check_batches: all from a number on, for a proof
"""

from collections.abc import AsyncIterator, Mapping

from .. import query_files
from ..errors import VerificationError
from ..identifiers import stored_table
from ..keys import NO_KEYS, KeyRing
from ..ports import Connection
from ..stored import TableShape
from . import acts, books, entries, events, filtered, imported, messages, rejected
from .books import Books, Counts
from .findings import Findings
from .held import by_batch
from .look import look, unreadable

WINDOW = 50_000
"""Batches whose books are in memory at a time."""

LEAST, MOST = -(1 << 63), (1 << 63) - 1
"""Every number a batch may have is in LEAST ≤ number < MOST."""
_NUMBERED = (
    *(("batch", name) for name in ("ledger", "ledger_outputs", "lineage_log", "raw_batches", "rejected")),
    *(("batch", name) for name in ("replays", "imported_events", "filtered", "trigger_events")),
    ("started_by", "trigger_events"),
    *(("act", name) for name in ("recalls", "quarantine", "erasures")),
)
_WINDOWS = query_files.read(__package__, "windows.sql")


async def verify_batch(
    connection: Connection, number: int, tables: Mapping[str, TableShape], keys: KeyRing = NO_KEYS
) -> None:
    """Check one committed batch in Postgres; raises VerificationError with what differs.

    What was read, accepted, rejected, stored and recorded must agree, in number and in digest.
    """
    findings, counts = Findings(), Counts()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await check(connection, tables, (number, number + 1), counts, findings, keys)
        for shape in tables.values():
            if shape.kind == "recompute":
                found = books.check_buckets(connection, shape, counts, keys, (number, number + 1))
                findings.add(shape.name, [difference async for difference in found])
        findings.add("lineage_log", await _span_differences(connection, number))
    if not counts.batches:
        findings.add("ledger", [f"batch {number} is not in the ledger"])
    if sentences := findings.sentences():
        raise VerificationError(sentences)


async def _span_differences(connection: Connection, number: int) -> list[str]:
    """The chain of one batch's entries, from the hash of the entry before them."""
    ledger = await connection.fetchrow(
        "SELECT writer, first_entry, last_entry FROM store.ledger WHERE batch = $1", number
    )
    if ledger is None:
        return []
    rows = await connection.fetch(
        "SELECT * FROM store.lineage_log WHERE writer = $1 AND number BETWEEN $2 AND $3 ORDER BY number",
        ledger["writer"],
        ledger["first_entry"] - 1,
        ledger["last_entry"],
    )
    heads = {}
    if rows and rows[0]["number"] == ledger["first_entry"] - 1:
        heads[ledger["writer"]] = (rows[0]["number"], rows[0]["hash"])
        rows = rows[1:]
    return entries.Chains(heads).follow(rows)[1]


async def windows(connection: Connection, first: int) -> AsyncIterator[tuple[int, int]]:
    """Ranges that together hold every number from `first` on, each with at most WINDOW ledger rows."""
    for row in await connection.fetch(_WINDOWS, WINDOW, first):
        yield first, row["batch"] + 1
        first = row["batch"] + 1
    yield first, MOST


async def beyond(connection: Connection, tables: Mapping[str, TableShape]) -> AsyncIterator[str]:
    """A sentence for each table with a batch that no window holds."""
    kept = (("batch", name) for shape in tables.values() for name in shape.tables)
    for column, name in (*_NUMBERED, *kept):
        query = f"SELECT EXISTS (SELECT FROM {stored_table(name)} WHERE {column} = {MOST})"
        if await connection.fetchval(query):
            yield f"{name}: something of batch {MOST}, which no commit has"


async def check(
    connection: Connection,
    tables: Mapping[str, TableShape],
    window: tuple[int, int],
    counts: Counts,
    findings: Findings,
    keys: KeyRing,
) -> None:
    """Everything that is said of batches by their number."""
    kept = Books({})
    with unreadable(findings, "ledger"):
        kept = await books.read_books(connection, *window)
        counts.batches += len(kept.ledger)
        counts.keyless += sum(map(books.is_keyless, kept.ledger.values()))
        findings.add("ledger", books.balance(kept, tables))
    for shape in tables.values():
        if shape.kind != "recompute":
            rows = _rows(connection, kept, shape, window, counts, keys)
            await look(connection, findings, shape.name, rows)
    for name, found in (
        ("raw_batches", messages.check_messages(connection, kept, *window)),
        ("rejected", rejected.check_rejected(connection, kept, *window, counts, keys)),
        ("filtered", filtered.check_filtered(connection, kept, *window)),
        ("lineage_log", entries.check_spans(connection, kept, *window, counts)),
        ("edges", entries.check_producers(connection, kept, tables, *window)),
        ("imported_events", imported.check_events(connection, kept, *window)),
        ("acts", acts.check_acts(connection, kept, *window)),
        ("trigger_events", events.check_events(connection, kept, *window)),
    ):
        await look(connection, findings, name, found)


async def _rows(
    connection: Connection,
    kept: Books,
    shape: TableShape,
    window: tuple[int, int],
    counts: Counts,
    keys: KeyRing,
) -> AsyncIterator[str]:
    held = await by_batch(connection, shape, *window, books.outputs_of(kept, shape.name), keys)
    counts.rows += sum(each.rows for each in held.values())
    for difference in books.compare_rows(kept, shape, held):
        yield difference
