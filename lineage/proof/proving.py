"""The proof: everything stored in Postgres against the lineage log against the graph.

    rows, messages, rejected ── ledger ── lineage log ── seals ── projection ── graph

Postgres is read in one snapshot while others go on committing. A full proof reads everything; otherwise
what is new since the last proof that found no difference. The graph is compared with the seals it has.
"""

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .. import fold, naming, query_files, relay, restores
from ..keys import NO_KEYS, KeyRing
from ..ports import Connection, Graph
from ..projection import digest as digest_of
from ..restores import Restore
from ..seal import Anchor, Stranger
from ..stored import TableShape
from . import batches, books, marks, mirror, positions, quarantine, schema
from .batches import LEAST, MOST
from .books import Counts
from .contracts import check_contracts
from .coverage import check_coverage
from .findings import Findings
from .from_bytes import FromBytes, MakeAgain
from .history import check_history
from .identity import check_identity
from .introduced import check_introductions, check_subjects
from .look import look, unreadable
from .outcome import Proof
from .walk import Walk

_TOTAL = "SELECT coalesce(max(total), 0) FROM store.lineage_seals"
# The last batch of each writer up to a seal; its batches have ascending numbers.
_PROVED_BATCH = query_files.read(__package__, "proved_batch.sql")
_KEEP = "INSERT INTO store.proofs (after, seal, differences, digest) VALUES ($1, $2, $3, $4)"

Progress = Callable[[str, int], None]
"""Called with what is looked at, and how many of them so far."""


async def prove(
    connection: Connection,
    graph: Graph,
    tables: Mapping[str, TableShape],
    progress: Progress = lambda _what, _done: None,
    *,
    after: int = 0,
    anchors: Sequence[Anchor] = (),
    accepted: Sequence[Restore] = (),
    strangers: Sequence[Stranger] = (),
    keys: KeyRing = NO_KEYS,
    make_again: MakeAgain | None = None,
) -> Proof:
    """Check what is stored. `connection` must be outside a transaction.

    What the seals up to number `after` say is taken as proved: see `last_vouched`, `last_proved`,
    `sealed_before`; 0: all is read. `accepted`: the restores that the anchors know of; `strangers`: what else
    stands in the file of the anchors; `keys`: those that rows were digested with; `make_again`: makes
    the rows of these batches again from their messages. What the relay has not carried yet is carried first.
    The outcome is kept in `store.proofs`. Raises UnavailableError when the graph is away.
    """
    known = (tuple(anchors), tuple(accepted), tuple(strangers), keys, make_again)
    proving = _Proving(connection, graph, tables, progress, after, *known)
    proof = await proving.run()
    kept = bytes.fromhex(proof.digest)
    await connection.execute(_KEEP, proof.after, proof.seal, proof.total, kept)
    return proof


@dataclass(slots=True)
class _Proving:
    """One proof on its way."""

    connection: Connection
    graph: Graph
    tables: Mapping[str, TableShape]
    progress: Progress
    after: int
    anchors: tuple[Anchor, ...]
    accepted: tuple[Restore, ...]
    strangers: tuple[Stranger, ...]
    keys: KeyRing
    make_again: MakeAgain | None
    findings: Findings = field(default_factory=Findings)
    counts: Counts = field(default_factory=Counts)
    digest: int = 0
    from_bytes: FromBytes | None = None

    async def run(self) -> Proof:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proof-")))
            async with self.connection.transaction():
                await self._look("schema", schema.check_schema(self.connection, self.tables))
            async with relay.relay_lock(self.connection):
                carried = await self._carry()
                reached = await relay.cursor(self.connection)
                whole = None if self.after else await self._spread(directory)
            async with self.connection.transaction(isolation="repeatable_read", readonly=True):
                walk = Walk(self.connection, self.after, self.findings.add, self.anchors)
                first = await self._follow(walk, reached, whole)
                await self._check_always(first)
                await self._check_batches(first)
                if self.make_again:
                    self.from_bytes = await self.make_again(self.connection, first, self.findings)
                self.findings.add("restores", await restores.check(self.connection, self.accepted))
        sentences = self.findings.sentences()
        return Proof(
            ok=not sentences,
            batches=self.counts.batches,
            rows=self.counts.rows,
            rejected=self.counts.rejected,
            edges=walk.entries,
            carried=carried,
            after=walk.after,
            seal=walk.seal,
            seal_hash=walk.hash.hex(),
            digest=f"{self.digest % (1 << 64):016x}",
            differences=sentences,
            total=self.findings.total,
            restores=tuple(restore.sentence for restore in self.accepted),
            keyless=self.counts.keyless,
            unshown=tuple(walk.unshown),
            from_bytes=self.from_bytes,
        )

    async def _look(self, check: str, found: AsyncIterator[str]) -> None:
        await look(self.connection, self.findings, check, found)

    async def _carry(self) -> int:
        """Carry what the relay has not, after a look at what it says it has; returns the entries carried.

        Nothing goes to a graph that knows what the log does not: the relay makes it again.
        """
        async with self.connection.transaction():
            await self._look("relay_cursors", positions.check_cursor(self.connection, self.graph))
        carried = 0
        with unreadable(self.findings, "lineage_log"):
            gap = await restores.gap(self.connection, self.anchors)
            if gap is not None and (alone := await relay.beyond(self.connection, self.graph)):
                beyond = (
                    f"graph: it knows {len(alone):,} seal(s) that the log does not have: restored, or cut off"
                )
                self.findings.add("graph", [beyond])
            else:
                carried = await relay.catch_up(self.connection, self.graph)
        self.progress("entries carried to the graph first", carried)
        return carried

    async def _spread(self, directory: Path) -> tuple[mirror.Spread, mirror.Spread]:
        """Files for the log's side, and the whole graph spread over the others."""
        parts = mirror.parts_for(await self.connection.fetchval(_TOTAL) or 0)
        in_graph = mirror.Spread(directory, "graph", parts)
        await mirror.spread_graph(in_graph, self.graph)
        return mirror.Spread(directory, "log", parts), in_graph

    async def _follow(
        self, walk: Walk, reached: int, whole: tuple[mirror.Spread, mirror.Spread] | None
    ) -> int:
        """Walk the seals and compare the graph with them; returns the first batch that is new."""
        named: set[int] = set()
        with unreadable(self.findings, "lineage_log"):
            async with self.connection.transaction():
                named = await self._compare(walk, reached, whole)
        if whole:
            self.digest = mirror.compare(*whole, partial(self.findings.add, "graph"))
            return LEAST
        if not walk.after:  # the seal that was proved is gone
            return LEAST
        proved: int = await self.connection.fetchval(_PROVED_BATCH, walk.after) or 0
        return min((proved + 1, *named, MOST - 1))

    async def _compare(
        self, walk: Walk, reached: int, whole: tuple[mirror.Spread, mirror.Spread] | None
    ) -> set[int]:
        """Seal by seal, then what none of them has; returns the batches they name."""
        named: set[int] = set()
        folds = await fold.load(self.connection, reached)
        async for sealed in walk.seals():
            named |= sealed.batches
            told = folds.projection(sealed)
            if whole and sealed.number <= reached:
                mirror.spread_projection(whole[0], told)
            elif sealed.number <= reached:
                self.digest += digest_of(told)
                self.findings.add("graph", await mirror.unlike(self.graph, told))
            self.progress("log entries", walk.entries)
        named |= await walk.tail()
        if whole:
            await walk.check_total()
        return named

    async def _check_always(self, first: int) -> None:
        """What is small, or says of no batch: every proof looks at it, whether something is new or not."""
        connection = self.connection
        await self._look("identity", check_identity(connection, self.after, self.strangers))
        await self._look("lineage_writers", positions.check_writers(connection))
        await self._look("sources", positions.check_sources(connection, first))
        await self._look("contracts", check_contracts(connection))
        await self._look("transformations", check_introductions(connection, first))
        if first == LEAST:
            await self._look("subjects", check_subjects(connection))
        for shape in self.tables.values():
            if shape.history:
                await self._look("quarantine", quarantine.check_standing(connection, shape))

    async def _check_batches(self, first: int) -> None:
        """What is said of batches by their number, from the first one that is new."""
        connection, tables = self.connection, self.tables
        await self._look("batches", batches.beyond(connection, tables))
        with unreadable(self.findings, "ledger"):
            async for window in batches.windows(connection, first):
                await batches.check(connection, tables, window, self.counts, self.findings, self.keys)
                self.progress("batches", self.counts.batches)
        await self._look("columns", check_coverage(connection, tables, first, naming.postgres("")))
        await self._look("change_marks", marks.check_marks(connection, tables, first))
        changed = None if first == LEAST else (first, MOST)
        for shape in tables.values():
            if shape.kind == "recompute":
                buckets = books.check_buckets(connection, shape, self.counts, self.keys, changed)
                await self._look(shape.name, buckets)
            else:
                await self._look(shape.name, check_history(connection, shape, first))
