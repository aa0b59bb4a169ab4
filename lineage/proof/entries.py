"""The lineage log against the ledger: the span and the edges of every batch, and every writer's chain."""

from collections.abc import AsyncIterator, Iterable, Mapping
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
SELECT batch, source_key, target_key, target_facts->>'rows' AS rows
FROM store.lineage_log WHERE batch >= $1 AND batch < $2 AND relationship_type = 'FEEDS'
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

    source: str | None
    rows: int | None


async def check_producers(
    connection: Connection, books: Books, tables: Mapping[str, TableShape], first: int, end: int
) -> AsyncIterator[str]:
    """For all that a batch wrote there is an edge that says from what, and how many rows."""
    wanting = {number: _producers(row, books, tables) for number, row in books.ledger.items()}
    async for rows in chunks(connection, _PRODUCERS, first, end):
        for row in rows:
            expected = wanting.get(row["batch"], {}).get(row["target_key"])
            if expected is None or expected.source not in (None, row["source_key"]):
                continue
            del wanting[row["batch"]][row["target_key"]]
            if expected.rows is not None and str(expected.rows) != row["rows"]:
                yield (
                    f"lineage_log, batch {row['batch']}: the edge to {row['target_key']} says "
                    f"{row['rows']} row(s), and {expected.rows} are recorded"
                )
    for number, edges in wanting.items():
        for target, edge in edges.items():
            source = f" from {edge.source}" if edge.source else ""
            yield f"lineage_log, batch {number}: no edge{source} to {target}"


def _producers(ledger: Any, books: Books, tables: Mapping[str, TableShape]) -> dict[str, _Producer]:
    """Target → its producer."""
    number, received, replayed = ledger["batch"], ledger["raw_digest"] is not None, ledger["raw_batch"]
    raw = batch_node(RAW, number if replayed is None else replayed).key
    fed_by_messages = received or replayed is not None
    edges: dict[str, _Producer] = {}
    if received:
        edges[raw] = _Producer(batch_node(ledger["dataset"], number).key, books.messages.get(number))
    if fed_by_messages and ledger["rejected"]:
        edges[batch_node(REJECTED, number).key] = _Producer(raw, ledger["rejected"])
    if ledger["way"] == EVENT and ledger["accepted"]:
        edges[batch_node(EVENTS, number).key] = _Producer(raw, ledger["accepted"])
    for output in books.outputs.get(number, ()):
        uri = naming.postgres(output["table_name"])
        if output["bucket"] is not None:
            shape = tables.get(output["table_name"])  # of no contract: `books.balance` tells it
            if shape and output["rows"]:
                edges[bucket_node(uri, output["bucket"], shape.bucket).key] = _Producer(None, None)
        elif fed_by_messages:
            edges[batch_node(uri, number).key] = _Producer(raw, output["rows"])
        else:
            edges[batch_node(uri, number).key] = _Producer(None, None)
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
