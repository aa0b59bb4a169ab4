"""The proof: everything stored in Postgres against the lineage log against the graph.

    rows, messages, rejected ── ledger ── lineage log ── projection ── graph

Postgres is read in one snapshot while others go on committing. The graph is read before it, with the relay
held, and compared with the entries the relay had carried by then: not one more, not one less.
"""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from . import books, entries, messages, mirror, relay
from .books import Counts
from .errors import VerificationError
from .ports import Connection, Graph
from .stored import TableShape, by_batch, chunks

WINDOW = 50_000
"""Batches whose books are in memory at a time."""
KEPT = 50
"""Sentences kept of each check; the rest are counted."""
PAGE = 10_000
"""Log entries read at a time."""

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_LOG = "SELECT * FROM store.lineage_log ORDER BY writer, number"
_WINDOWS = """
SELECT batch FROM (SELECT batch, row_number() OVER (ORDER BY batch) AS place FROM store.ledger) numbered
WHERE place % $1 = 0 ORDER BY batch
"""

Progress = Callable[[str, int], None]
"""Called with what is looked at, and how many of them so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The outcome. `edges` are log entries; `carried` those that were carried to the graph first."""

    ok: bool
    batches: int
    rows: int
    rejected: int
    edges: int
    carried: int
    digest: str  # of the graph as the log says it must be, 16 hex digits
    differences: tuple[str, ...]
    total: int  # all differences; `differences` keeps the first of each check

    @property
    def sentence(self) -> str:
        """What was compared, and how many differences there are."""
        differences = f"{self.total:,} difference" if self.total else "no difference"
        return (
            f"{self.batches:,} batches, {self.rows:,} rows, {self.rejected:,} rejected records, "
            f"{self.edges:,} edges: {differences}{'' if self.total == 1 else 's'}"
        )


@dataclass(slots=True)
class _Findings:
    """Differences: the first of each check in words, all in number."""

    kept: dict[str, list[str]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)

    def add(self, check: str, differences: Iterable[str]) -> None:
        for difference in differences:
            self.counted[check] = self.counted.get(check, 0) + 1
            if self.counted[check] <= KEPT:
                self.kept.setdefault(check, []).append(difference)

    def sentences(self) -> tuple[str, ...]:
        found: list[str] = []
        for check, kept in self.kept.items():
            found += kept
            if (more := self.counted[check] - len(kept)) > 0:
                found.append(f"{check}: {more} more difference(s), {self.counted[check]} in all")
        return tuple(found)


async def prove(
    connection: Connection,
    graph: Graph,
    tables: Mapping[str, TableShape],
    progress: Progress = lambda _what, _done: None,
) -> Proof:
    """Check everything stored. `connection` must be outside a transaction; only the graph is written to.

    What the relay has not carried yet is carried first: a graph that lags is no difference. Raises
    UnavailableError when the graph is away.
    """
    findings, counts = _Findings(), Counts()
    with tempfile.TemporaryDirectory(prefix="proof-") as directory:
        async with relay.alone(connection):
            carried = await relay.catch_up(connection, graph)
            progress("entries carried to the graph first", carried)
            reached = await relay.cursors(connection)
            parts = mirror.parts_for(sum(reached.values()))
            in_graph = mirror.Spread(Path(directory), "graph", parts)
            await mirror.spread_graph(in_graph, graph)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            in_log = mirror.Spread(Path(directory), "log", parts)
            await _follow_log(connection, reached, in_log, findings, progress)
            digest = mirror.compare(in_log, in_graph, partial(findings.add, "graph"))
            progress("batches", 0)
            async for first, end in _windows(connection):
                await _check(connection, tables, (first, end), counts, findings)
                progress("batches", counts.batches)
            await _check_aggregates(connection, tables, counts, findings)
    sentences = findings.sentences()
    return Proof(
        ok=not sentences,
        batches=counts.batches,
        rows=counts.rows,
        rejected=counts.rejected,
        edges=counts.edges,
        carried=carried,
        digest=f"{digest:016x}",
        differences=sentences,
        total=sum(findings.counted.values()),
    )


async def verify_batch(connection: Connection, number: int, tables: Mapping[str, TableShape]) -> None:
    """Check one committed batch in Postgres; raises VerificationError with what differs.

    What was read, accepted, rejected, stored and recorded must agree, in number and in digest.
    """
    findings, counts = _Findings(), Counts()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await _check(connection, tables, (number, number + 1), counts, findings)
        for shape in tables.values():
            if shape.kind == "recompute":
                found = books.check_hours(connection, shape, counts, number)
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


async def _follow_log(
    connection: Connection,
    reached: Mapping[int, int],
    spread: mirror.Spread,
    findings: _Findings,
    progress: Progress,
) -> None:
    """Walk the whole log once: each writer's chain, and what the carried part of it makes."""
    chains, done = entries.Chains(), 0
    async for rows in chunks(connection, _LOG, size=PAGE):
        read, differences = chains.follow(rows)
        findings.add("lineage_log", differences)
        mirror.spread_log(spread, [entry for entry in read if entry.number <= reached.get(entry.writer, 0)])
        done += len(rows)
        progress("log entries", done)


async def _windows(connection: Connection) -> AsyncIterator[tuple[int, int]]:
    """Ranges that together hold every number there is, each with at most WINDOW ledger rows."""
    first = _LEAST
    for row in await connection.fetch(_WINDOWS, WINDOW):
        yield first, row["batch"] + 1
        first = row["batch"] + 1
    yield first, _MOST


async def _check(
    connection: Connection,
    tables: Mapping[str, TableShape],
    window: tuple[int, int],
    counts: Counts,
    findings: _Findings,
) -> None:
    """Everything that is said of batches by their number."""
    kept = await books.read_books(connection, *window)
    counts.batches += len(kept.ledger)
    findings.add("ledger", books.balance(kept, tables))
    for shape in tables.values():
        if shape.kind != "recompute":
            held = await by_batch(connection, shape, *window)
            counts.rows += sum(each.rows for each in held.values())
            findings.add(shape.name, books.compare_rows(kept, shape, held))
    for name, check in (
        ("raw_batches", messages.check_messages(connection, kept, *window)),
        ("rejected", books.check_rejected(connection, kept, *window, counts)),
        ("lineage_log", entries.check_spans(connection, kept, *window, counts)),
        ("edges", entries.check_producers(connection, kept, *window)),
    ):
        findings.add(name, [difference async for difference in check])


async def _check_aggregates(
    connection: Connection, tables: Mapping[str, TableShape], counts: Counts, findings: _Findings
) -> None:
    for shape in tables.values():
        if shape.kind == "recompute":
            found = books.check_hours(connection, shape, counts)
            findings.add(shape.name, [difference async for difference in found])
