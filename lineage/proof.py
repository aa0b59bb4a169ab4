"""The proof: everything stored in Postgres against the lineage log against the graph.

    rows, messages, rejected ── ledger ── lineage log ── seals ── projection ── graph

Postgres is read in one snapshot while others go on committing. A full proof reads everything; otherwise
what is new since the last proof that found no difference. The graph is compared with the seals it has.
"""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from . import books, entries, fold, marks, messages, mirror, naming, quarantine, rejected, relay
from .books import Counts
from .coverage import check_coverage
from .errors import VerificationError
from .openlineage import kept as imported
from .ports import Connection, Graph
from .projection import digest as digest_of
from .seal import Anchor
from .stored import TableShape, by_batch
from .walk import Walk

WINDOW = 50_000
"""Batches whose books are in memory at a time."""
KEPT = 50
"""Sentences kept of each check; the rest are counted."""

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_WINDOWS = """
SELECT batch FROM (
    SELECT batch, row_number() OVER (ORDER BY batch) AS place FROM store.ledger WHERE batch >= $2
) numbered
WHERE place % $1 = 0 ORDER BY batch
"""
_PROVED = "SELECT coalesce(max(seal), 0) FROM store.proofs WHERE differences = 0"
_SEALED_BEFORE = "SELECT coalesce(max(seal), 0) FROM store.lineage_seals WHERE sealed_at < $1"
_TOTAL = "SELECT coalesce(max(total), 0) FROM store.lineage_seals"
_KEEP = "INSERT INTO store.proofs (after, seal, differences, digest) VALUES ($1, $2, $3, $4)"

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
    after: int  # the seals up to this one were taken as proved; 0: everything was read
    seal: int  # the last seal that was read
    seal_hash: str  # its hash, 64 hex digits: keep it elsewhere, and nothing before it can change unseen
    digest: str  # of what the seals that were read make of the graph, 16 hex digits
    differences: tuple[str, ...]
    total: int  # all differences; `differences` keeps the first of each check

    @property
    def sentence(self) -> str:
        """What was compared, and how many differences there are."""
        differences = f"{self.total:,} difference" if self.total else "no difference"
        new = f"new since seal {self.after}: " if self.after else ""
        return (
            f"{new}{self.batches:,} batches, {self.rows:,} rows, {self.rejected:,} rejected records, "
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
    *,
    after: int = 0,
    anchors: Sequence[Anchor] = (),
) -> Proof:
    """Check what is stored. `connection` must be outside a transaction.

    What the seals up to number `after` say is taken as proved (see `last_proved`, `sealed_before`); 0: all is
    read. What the relay has not carried yet is carried first: a graph that lags is no difference. The outcome
    is kept in `store.proofs`. Raises UnavailableError when the graph is away.
    """
    proving = _Proving(connection, graph, tables, progress, after, tuple(anchors))
    proof = await proving.run()
    kept = bytes.fromhex(proof.digest)
    await connection.execute(_KEEP, proof.after, proof.seal, proof.total, kept)
    return proof


async def last_proved(connection: Connection) -> int:
    """The last seal that a proof without a difference read; 0 before the first such proof."""
    return await connection.fetchval(_PROVED) or 0


async def sealed_before(connection: Connection, moment: datetime) -> int:
    """The last seal made before a moment, 0 if there is none."""
    return await connection.fetchval(_SEALED_BEFORE, moment) or 0


@dataclass(slots=True)
class _Proving:
    """One proof on its way."""

    connection: Connection
    graph: Graph
    tables: Mapping[str, TableShape]
    progress: Progress
    after: int
    anchors: tuple[Anchor, ...]
    findings: _Findings = field(default_factory=_Findings)
    counts: Counts = field(default_factory=Counts)
    digest: int = 0

    async def run(self) -> Proof:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proof-")))
            async with relay.alone(self.connection):
                carried = await relay.catch_up(self.connection, self.graph)
                self.progress("entries carried to the graph first", carried)
                reached = await relay.cursor(self.connection)
                whole = None if self.after else await self._spread(directory)
            async with self.connection.transaction(isolation="repeatable_read", readonly=True):
                walk = Walk(self.connection, self.after, self.findings.add, self.anchors)
                first = await self._follow(walk, reached, whole)
                await self._check_batches(first)
        sentences = self.findings.sentences()
        return Proof(
            ok=not sentences,
            batches=self.counts.batches,
            rows=self.counts.rows,
            rejected=self.counts.rejected,
            edges=walk.entries,
            carried=carried,
            after=self.after,
            seal=walk.seal,
            seal_hash=walk.hash.hex(),
            digest=f"{self.digest % (1 << 64):016x}",
            differences=sentences,
            total=sum(self.findings.counted.values()),
        )

    async def _spread(self, directory: Path) -> tuple[mirror.Spread, mirror.Spread]:
        """Files for the log's side, and the whole graph spread over the others."""
        parts = mirror.parts_for(await self.connection.fetchval(_TOTAL) or 0)
        in_graph = mirror.Spread(directory, "graph", parts)
        await mirror.spread_graph(in_graph, self.graph)
        return mirror.Spread(directory, "log", parts), in_graph

    async def _follow(
        self, walk: Walk, reached: int, whole: tuple[mirror.Spread, mirror.Spread] | None
    ) -> int | None:
        """Walk the seals and compare the graph with them; returns the first batch they name."""
        batches: set[int] = set()
        folds = await fold.load(self.connection, reached)
        async for sealed in walk.seals():
            batches |= sealed.batches
            told = folds.projection(sealed)
            if whole and sealed.number <= reached:
                mirror.spread_projection(whole[0], told)
            elif sealed.number <= reached:
                self.digest += digest_of(told)
                self.findings.add("graph", await mirror.unlike(self.graph, told))
            self.progress("log entries", walk.entries)
        batches |= await walk.tail()
        if whole:
            await walk.check_total()
            self.digest = mirror.compare(*whole, partial(self.findings.add, "graph"))
            return _LEAST
        return min(batches, default=None)

    async def _check_batches(self, first: int | None) -> None:
        if first is None:  # nothing is new
            return
        async for window in _windows(self.connection, first):
            await _check(self.connection, self.tables, window, self.counts, self.findings)
            self.progress("batches", self.counts.batches)
        uncovered = await check_coverage(self.connection, self.tables, first, naming.postgres(""))
        self.findings.add("columns", uncovered)
        changed = None if first == _LEAST else (first, _MOST)
        for shape in self.tables.values():
            found = (
                books.check_hours(self.connection, shape, self.counts, changed)
                if shape.kind == "recompute"
                else marks.check_marks(self.connection, shape, first)
            )
            self.findings.add(shape.name, [difference async for difference in found])
            if shape.history:
                out = [difference async for difference in quarantine.check_standing(self.connection, shape)]
                self.findings.add("quarantine", out)


async def verify_batch(connection: Connection, number: int, tables: Mapping[str, TableShape]) -> None:
    """Check one committed batch in Postgres; raises VerificationError with what differs.

    What was read, accepted, rejected, stored and recorded must agree, in number and in digest.
    """
    findings, counts = _Findings(), Counts()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await _check(connection, tables, (number, number + 1), counts, findings)
        for shape in tables.values():
            if shape.kind == "recompute":
                found = books.check_hours(connection, shape, counts, (number, number + 1))
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


async def _windows(connection: Connection, first: int) -> AsyncIterator[tuple[int, int]]:
    """Ranges that together hold every number from `first` on, each with at most WINDOW ledger rows."""
    for row in await connection.fetch(_WINDOWS, WINDOW, first):
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
        ("rejected", rejected.check_rejected(connection, kept, *window, counts)),
        ("lineage_log", entries.check_spans(connection, kept, *window, counts)),
        ("edges", entries.check_producers(connection, kept, *window)),
        ("imported_events", imported.check_events(connection, kept, *window)),
        ("quarantine", quarantine.check_acts(connection, kept, *window)),
    ):
        findings.add(name, [difference async for difference in check])
