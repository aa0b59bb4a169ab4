"""The proof: everything stored in Postgres against the lineage log against the graph.

    rows, messages, rejected ── ledger ── lineage log ── seals ── projection ── graph

Postgres is read in one snapshot while others go on committing. A full proof reads everything; otherwise
what is new since the last proof that found no difference. The graph is compared with the seals it has.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .. import fold, naming, relay, restores
from ..keys import NO_KEYS, KeyRing
from ..ports import Connection, Graph
from ..projection import digest as digest_of
from ..restores import Restore
from ..seal import Anchor
from ..stored import TableShape
from . import batches, books, marks, mirror, quarantine
from .batches import LEAST, MOST
from .books import Counts
from .coverage import check_coverage
from .findings import Findings
from .introduced import check_introductions
from .walk import Walk

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
    restores: tuple[str, ...] = ()  # a sentence for each that was ever accepted
    unshown: tuple[str, ...] = ()  # entries that were written so that no graph can show them: no difference

    @property
    def sentence(self) -> str:
        """What was compared, and how many differences there are."""
        differences = f"{self.total:,} difference" if self.total else "no difference"
        new = f"new since seal {self.after}: " if self.after else ""
        unshown = f", {len(self.unshown):,} of them in no graph" if self.unshown else ""
        return (
            f"{new}{self.batches:,} batches, {self.rows:,} rows, {self.rejected:,} rejected records, "
            f"{self.edges:,} edges{unshown}: {differences}{'' if self.total == 1 else 's'}"
        )


async def prove(
    connection: Connection,
    graph: Graph,
    tables: Mapping[str, TableShape],
    progress: Progress = lambda _what, _done: None,
    *,
    after: int = 0,
    anchors: Sequence[Anchor] = (),
    accepted: Sequence[Restore] = (),
    keys: KeyRing = NO_KEYS,
) -> Proof:
    """Check what is stored. `connection` must be outside a transaction.

    What the seals up to number `after` say is taken as proved: see `last_vouched`, `last_proved`,
    `sealed_before`; 0: all is read. `accepted`: the restores that the anchors know of; `keys`: those that
    rows were digested with. What the relay has not carried yet is carried first. The outcome is kept in
    `store.proofs`. Raises UnavailableError when the graph is away.
    """
    known = (tuple(anchors), tuple(accepted), keys)
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
    keys: KeyRing
    findings: Findings = field(default_factory=Findings)
    counts: Counts = field(default_factory=Counts)
    digest: int = 0

    async def run(self) -> Proof:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proof-")))
            async with relay.relay_lock(self.connection):
                carried = await self._catch_up()
                self.progress("entries carried to the graph first", carried)
                reached = await relay.cursor(self.connection)
                whole = None if self.after else await self._spread(directory)
            async with self.connection.transaction(isolation="repeatable_read", readonly=True):
                walk = Walk(self.connection, self.after, self.findings.add, self.anchors)
                first = await self._follow(walk, reached, whole)
                await self._check_batches(first)
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
            unshown=tuple(walk.unshown),
        )

    async def _catch_up(self) -> int:
        """Carry what waits; not to a graph that knows what the log does not, which the relay makes again."""
        gap = await restores.gap(self.connection, self.anchors)
        if gap is None or not (alone := await relay.beyond(self.connection, self.graph)):
            return await relay.catch_up(self.connection, self.graph)
        sentence = f"graph: it knows {len(alone):,} seal(s) that the log does not have: restored, or cut off"
        self.findings.add("graph", [sentence])
        return 0

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
            self.findings.add("transformations", await check_introductions(self.connection))
            self.digest = mirror.compare(*whole, partial(self.findings.add, "graph"))
            return LEAST
        return min(named, default=None)

    async def _check_batches(self, first: int | None) -> None:
        if first is None:  # nothing is new
            return
        self.findings.add("batches", await batches.beyond(self.connection, self.tables))
        async for window in batches.windows(self.connection, first):
            await batches.check(self.connection, self.tables, window, self.counts, self.findings, self.keys)
            self.progress("batches", self.counts.batches)
        uncovered = await check_coverage(self.connection, self.tables, first, naming.postgres(""))
        self.findings.add("columns", uncovered)
        changed = None if first == LEAST else (first, MOST)
        for shape in self.tables.values():
            found = (
                books.check_hours(self.connection, shape, self.counts, self.keys, changed)
                if shape.kind == "recompute"
                else marks.check_marks(self.connection, shape, first)
            )
            self.findings.add(shape.name, [difference async for difference in found])
            if shape.history:
                out = [difference async for difference in quarantine.check_standing(self.connection, shape)]
                self.findings.add("quarantine", out)
