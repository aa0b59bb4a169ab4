"""The lineage log against the ledger: the span and the edges of every batch, and every writer's chain."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lineage.trigger_events import EVENT, EVENTS

from .. import form, naming
from ..log import FIRST_HEAD, Entry, canonical, chain, entry_of
from ..model import Edge, batch_node, bucket_node
from ..ports import Connection
from ..stored import TableShape, chunks
from .books import Books, Counts

RAW = naming.postgres("raw_batches")
"""One dataset that all sources fed, by whose batches every commit of before went: source → it → table."""
REJECTED = naming.postgres("rejected")

_SPANS = """
SELECT batch, count(*) AS entries, min(writer) AS writer, max(writer) AS last_writer,
    min(number) AS first, max(number) AS last
FROM store.lineage_log WHERE batch >= $1 AND batch < $2 GROUP BY batch
"""
_HEADS = """
SELECT g.batch, l.hash FROM store.ledger g
JOIN store.lineage_log l ON l.writer = g.writer AND l.number = g.last_entry
WHERE g.batch >= $1 AND g.batch < $2
"""
_PRODUCERS = """
SELECT batch, source_key, target_key, source_facts->>'rows' AS brought, target_facts->>'rows' AS rows
FROM store.lineage_log WHERE batch >= $1 AND batch < $2 AND relationship_type IN ('FEEDS', 'PART_OF')
"""


async def check_spans(
    connection: Connection, books: Books, first: int, end: int, counts: Counts
) -> AsyncIterator[str]:
    """The entries of each batch are the ones its ledger row names, ending in the head it names."""
    spans = {row["batch"]: row for row in await connection.fetch(_SPANS, first, end)}
    heads = {row["batch"]: row["hash"] for row in await connection.fetch(_HEADS, first, end)}
    counts.edges += sum(span["entries"] for span in spans.values())
    for number in sorted(spans.keys() - books.ledger.keys()):
        entries = spans[number]["entries"]
        yield f"lineage_log: {entries} entry(s) of batch {number}, which is not in the ledger"
    for number, row in books.ledger.items():
        if number not in spans:
            yield f"lineage_log, batch {number}: it is in the ledger and has no entry"
        elif not _agrees(row, spans[number]):
            yield (
                f"lineage_log, batch {number}: its entries are not numbers {row['first_entry']} to "
                f"{row['last_entry']} of writer {row['writer']}"
            )
        elif heads.get(number, row["chain_head"]) != row["chain_head"]:
            yield f"lineage_log, batch {number}: its last entry's hash is not the chain head in the ledger"


def _agrees(ledger: Any, span: Any) -> bool:
    first, last = ledger["first_entry"], ledger["last_entry"]
    recorded = (ledger["writer"], ledger["writer"], first, last, last - first + 1)
    return bool(
        (span["writer"], span["last_writer"], span["first"], span["last"], span["entries"]) == recorded
    )


@dataclass(frozen=True, slots=True)
class _Producer:
    """An edge that must be there; None is any source, or any number of rows."""

    sources: tuple[str, ...] | None  # one of these
    rows: int | None


@dataclass(frozen=True, slots=True)
class _Brought:
    """An entry that must be there: a batch of the source, and how many messages it was."""

    source: str
    before: str  # its raw batch, which entries of before say it of
    messages: int | None

    def said_by(self, row: Any) -> tuple[str, str | None] | None:
        """Of which end an entry says so, and how many it says."""
        if row["source_key"] != self.source:
            return None
        if row["target_key"] == self.before:
            return f"to {self.before}", row["rows"]
        return None if row["brought"] is None else (f"from {self.source}", row["brought"])


async def check_producers(
    connection: Connection, books: Books, tables: Mapping[str, TableShape], first: int, end: int
) -> AsyncIterator[str]:
    """For all that a batch read and wrote there is an edge that says from what, and how many rows."""
    brought = {number: found for number, row in books.ledger.items() if (found := _brought(row, books))}
    wanting = {number: _producers(row) for number, row in books.ledger.items()}
    for number, edges in wanting.items():
        edges |= _outputs(books.ledger[number], books.outputs.get(number, ()), tables)
    async for rows in chunks(connection, _PRODUCERS, first, end):
        for row in rows:
            for difference in _told(row, brought, wanting):
                yield difference
    for number, edge in brought.items():
        yield f"lineage_log, batch {number}: no entry says how many messages {edge.source} is"
    for number, edges in wanting.items():
        for target, expected in edges.items():
            source = f" from {expected.sources[0]}" if expected.sources else ""
            yield f"lineage_log, batch {number}: no edge{source} to {target}"


def _told(row: Any, brought: dict[int, _Brought], wanting: dict[int, dict[str, _Producer]]) -> Iterator[str]:
    """Take what an entry says out of what must be said; a sentence where it says another number."""
    number = row["batch"]
    if number in brought and (said := brought[number].said_by(row)):
        yield from _miscounted(number, said[0], brought.pop(number).messages, said[1])
    expected = wanting.get(number, {}).get(row["target_key"])
    if expected and (expected.sources is None or row["source_key"] in expected.sources):
        del wanting[number][row["target_key"]]
        yield from _miscounted(number, f"to {row['target_key']}", expected.rows, row["rows"])


def _miscounted(number: int, end: str, recorded: int | None, said: str | None) -> Iterator[str]:
    if recorded is not None and str(recorded) != said:
        yield (f"lineage_log, batch {number}: the edge {end} says {said} row(s), and {recorded} are recorded")


def _brought(ledger: Any, books: Books) -> _Brought | None:
    """What the batch read, if it brought messages."""
    number = ledger["batch"]
    if ledger["raw_digest"] is None:
        return None
    source, before = (batch_node(dataset, number).key for dataset in (ledger["dataset"], RAW))
    return _Brought(source, before, books.messages.get(number))


def _sources(ledger: Any) -> tuple[str, ...] | None:
    """Which batch its messages are; None: it has none."""
    if ledger["raw_digest"] is None and ledger["raw_batch"] is None:
        return None
    number = ledger["batch"] if ledger["raw_batch"] is None else ledger["raw_batch"]
    return tuple(batch_node(dataset, number).key for dataset in (ledger["dataset"], RAW))


def _producers(ledger: Any) -> dict[str, _Producer]:
    """Target → its producer, of what is in no table of a contract."""
    number, sources = ledger["batch"], _sources(ledger)
    edges: dict[str, _Producer] = {}
    if sources and ledger["rejected"]:
        edges[batch_node(REJECTED, number).key] = _Producer(sources, ledger["rejected"])
    if ledger["way"] == EVENT and ledger["accepted"]:
        edges[batch_node(EVENTS, number).key] = _Producer(sources, ledger["accepted"])
    return edges


def _outputs(ledger: Any, outputs: Iterable[Any], tables: Mapping[str, TableShape]) -> dict[str, _Producer]:
    """The same of the tables that it wrote."""
    number, sources = ledger["batch"], _sources(ledger)
    edges: dict[str, _Producer] = {}
    for output in outputs:
        uri = naming.postgres(output["table_name"])
        if output["bucket"] is not None:
            shape = tables.get(output["table_name"])  # of no contract: `books.balance` tells it
            if shape and output["rows"]:
                edges[bucket_node(uri, output["bucket"], shape.bucket).key] = _Producer(None, None)
        else:
            edges[batch_node(uri, number).key] = _Producer(sources, output["rows"] if sources else None)
    return edges


@dataclass(slots=True)
class Chains:
    """Follows the entries of each writer in their order, and keeps what does not follow.

    `heads`: writer → number and hash of its last entry so far; a writer that is not there begins at 1.
    """

    heads: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def follow(self, rows: Iterable[Any]) -> tuple[list[Entry], list[str]]:
        """The entries of these rows, and a sentence for each that is missing or edited."""
        entries, found = [], []
        for row in rows:
            number, head = self.heads.get(row["writer"], (0, FIRST_HEAD))
            what = f"lineage_log: writer {row['writer']}, number {row['number']}"
            gap = row["number"] != number + 1
            if gap:
                found.append(f"{what}: the entries {number + 1} to {row['number'] - 1} before it are gone")
            try:
                entry = entry_of(row)
                made = chain(head, canonical(entry.writer, entry.number, entry.batch, entry.edge))
            except (ValueError, TypeError) as error:
                found.append(f"{what}: the entry cannot be read any more ({error})")
            else:
                entries.append(entry)
                if not gap and made != row["hash"]:
                    found.append(f"{what}: {_edited(entry.edge)}")
            # go on from what stands there, so that one edit is one difference
            self.heads[row["writer"]] = (row["number"], row["hash"])
        return entries, found


def _edited(edge: Edge) -> str:
    """What is to be said of an entry whose hash is another's; one that was written so has its own."""
    if reason := form.cannot_be_shown(edge):
        return f"the entry cannot be read any more ({reason})"
    return "its hash is not that of its content and the entry before it"
