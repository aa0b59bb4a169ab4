"""A walk over the record, seal by seal: every chain and every seal is computed again.

    seals ── spans ── entries ── projection of each seal ── its digest

A seal's hash covers the one before it; an anchor is such a hash that somebody kept outside Postgres.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from .. import form
from ..log import Entry, Span
from ..model import micros
from ..ports import Connection
from ..projection import project
from ..restores import ACCEPT
from ..seal import FIRST_HASH, SEALED_ENTRIES, UNSEALED, Anchor, Seal, digest_bytes, seal_hash
from ..sealed import books_digest
from .entries import Chains

SEALS_AT_A_TIME = 500

_SEALS = "SELECT * FROM store.lineage_seals WHERE seal > $1 ORDER BY seal LIMIT $2"
_SEAL = "SELECT hash, sealed_at, total FROM store.lineage_seals WHERE seal = $1"
_SPANS = """
SELECT seal, writer, first, last, head FROM store.lineage_spans
WHERE seal > $1 AND seal <= $2 ORDER BY seal, writer
"""
_HEADS = """
SELECT DISTINCT ON (writer) writer, last, head FROM store.lineage_spans
WHERE writer = ANY($1) AND seal <= $2 ORDER BY writer, last DESC
"""
_TAIL = "SELECT * FROM store.lineage_log WHERE writer = $1 AND number > $2 ORDER BY number"
_NO_SEAL = "SELECT DISTINCT writer FROM store.lineage_spans WHERE seal < 1 OR seal > $1 ORDER BY writer"
_LOG_COUNT = "SELECT count(*) FROM store.lineage_log"

Report = Callable[[str, Iterable[str]], None]
"""Takes the name of a check and its differences."""


@dataclass(slots=True)
class Walk:
    """Follows the seals after `after`, all of them if that one is gone; differences go to `report`."""

    connection: Connection
    after: int
    report: Report
    anchors: Sequence[Anchor] = ()
    chains: Chains = field(default_factory=Chains)
    entries: int = 0
    unshown: list[str] = field(default_factory=list)  # what was written so that no graph can show it
    hash: bytes = FIRST_HASH  # of the last seal that was seen
    seal: int = 0
    _total: int = 0  # entries of all seals up to that one, as they say
    _sealed_at: datetime | None = None

    async def seals(self) -> AsyncIterator[Seal]:
        """Every seal after `after` in order, with the graph its entries make."""
        await self._begin()
        while rows := await self.connection.fetch(_SEALS, self.seal, SEALS_AT_A_TIME):
            spans = await self._spans(rows[0]["seal"] - 1, rows[-1]["seal"])
            for row in rows:
                yield await self._check(row, spans.get(row["seal"], []))
        self._check_anchors()
        for row in await self.connection.fetch(_NO_SEAL, self.seal):
            sentence = f"seals: entries of writer {row['writer']} are said to be sealed, by no seal there is"
            self.report("seals", [sentence])

    async def tail(self) -> frozenset[int]:
        """Check the entries that no seal has yet; returns their batches."""
        batches: set[int] = set()
        for row in await self.connection.fetch(UNSEALED):
            if row["writer"] not in self.chains.heads:
                await self._load_heads([row["writer"]])
            read, found = self.chains.follow(await self.connection.fetch(_TAIL, row["writer"], row["number"]))
            self.report("lineage_log", found)
            self._tell_unshown(read)
            self.entries += len(read)
            batches.update(entry.batch for entry in read)
        return frozenset(batches)

    async def check_total(self) -> None:
        """After a walk from the beginning: nothing stands in the log that no seal and no open writer has."""
        stored = await self.connection.fetchval(_LOG_COUNT)
        if stored > self.entries:
            self.report("lineage_log", [f"lineage_log: {stored - self.entries} entry(s) belong to no seal"])

    async def _begin(self) -> None:
        """Stand on the seal `after`; were it cut off, what it vouched for has to be read again."""
        if not self.after:
            return
        row = await self.connection.fetchrow(_SEAL, self.after)
        if row is None:
            self.report("seals", [f"seals: number {self.after}, proved before, is gone"])
            self.after = 0
        else:
            self.seal, self.hash, self._sealed_at = self.after, row["hash"], row["sealed_at"]
            self._total = row["total"]

    async def _spans(self, after: int, upto: int) -> dict[int, list[Span]]:
        spans: dict[int, list[Span]] = {}
        for row in await self.connection.fetch(_SPANS, after, upto):
            span = Span(row["writer"], row["first"], row["last"], row["head"])
            spans.setdefault(row["seal"], []).append(span)
        writers = {span.writer for each in spans.values() for span in each}
        await self._load_heads([writer for writer in writers if writer not in self.chains.heads])
        return spans

    async def _load_heads(self, writers: list[int]) -> None:
        for row in await self.connection.fetch(_HEADS, writers, self.after):
            self.chains.heads[row["writer"]] = (row["last"], row["head"])

    async def _check(self, row: Any, spans: list[Span]) -> Seal:
        """One seal: its own hash, its spans, its entries, and the graph they make."""
        what = f"seal {row['seal']}"
        self.report("seals", self._own(row, spans, what))
        expected = [(span, self.chains.heads.get(span.writer, (0, b""))[0] + 1) for span in spans]
        read, found = self.chains.follow(await self.connection.fetch(SEALED_ENTRIES, row["seal"]))
        self.report("lineage_log", [*found, *self._missing(expected, what)])
        self._tell_unshown(read)
        made = project(read, micros(row["sealed_at"]))
        sealed = Seal(number=row["seal"], sealed_at=row["sealed_at"], entries=read, projection=made)
        if not found and len(read) == _counted(spans) and digest_bytes(made) != row["digest"]:
            self.report("seals", [f"{what}: its digest is not that of the graph its entries make"])
        self.entries += len(read)
        if not found and await books_digest(self.connection, sealed.batches) != row["books"]:
            some = f"{min(sealed.batches, default=0)} to {max(sealed.batches, default=0)}"
            self.report("ledger", [f"{what}: the ledger of its batches {some} is not what was sealed"])
        return sealed

    def _own(self, row: Any, spans: list[Span], what: str) -> Iterable[str]:
        if row["seal"] != self.seal + 1:
            yield f"{what}: the seals {self.seal + 1} to {row['seal'] - 1} before it are gone"
        elif row["hash"] != seal_hash(
            self.hash, row["seal"], row["sealed_at"], spans, row["digest"], row["books"], row["store"]
        ):
            yield f"{what}: its hash is not that of its content and the seal before it"
        if (row["entries"], row["total"]) != (_counted(spans), self._total + _counted(spans)):
            yield f"{what}: the numbers of its entries are not those of its spans and the seal before it"
        if self._sealed_at is not None and row["sealed_at"] - self._sealed_at <= timedelta(0):
            yield f"{what}: it is not later than the seal before it"
        for anchor in self.anchors:
            if anchor.seal == row["seal"] and anchor.hash != row["hash"]:
                yield f"{what}: its hash is not the one that was anchored: {ACCEPT}"
        self.seal, self.hash, self._sealed_at = row["seal"], row["hash"], row["sealed_at"]
        self._total = row["total"]

    def _missing(self, expected: list[tuple[Span, int]], what: str) -> Iterable[str]:
        for span, first in expected:
            number, head = self.chains.heads.get(span.writer, (0, b""))
            if span.first != first:
                yield f"{what}: writer {span.writer} goes on at {span.first} instead of {first}"
            if number < span.last:
                yield f"{what}: the entries {number + 1} to {span.last} of writer {span.writer} are gone"
            elif head != span.head:
                yield f"{what}: the last entry of writer {span.writer} has another hash than was sealed"

    def _tell_unshown(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if reason := form.cannot_be_shown(entry.edge):
                what = f"lineage_log: writer {entry.writer}, number {entry.number}"
                self.unshown.append(f"{what}: no graph can show the entry: {reason}")

    def _check_anchors(self) -> None:
        gone = [anchor.seal for anchor in self.anchors if anchor.seal > self.seal]
        if gone:
            sentence = f"seals: number {max(gone)} was anchored, and the last one is {self.seal}: {ACCEPT}"
            self.report("seals", [sentence])


def _counted(spans: Iterable[Span]) -> int:
    """How many entries the spans hold."""
    return sum(span.last - span.first + 1 for span in spans)
