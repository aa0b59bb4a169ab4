"""The lineage log: edges appended in the caller's transaction, numbered and hash-chained per writer.

A writer is one Postgres connection's lifetime. Because one connection commits one transaction after
another, a reader that has seen entry n of a writer has seen all before it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import query_files, sequences
from .canonical import canonical_json
from .model import Edge, Node, NodeKind, RelationshipType, micros
from .ports import Connection

FIRST_HEAD = bytes(32)
"""The chain head before a writer's first entry."""

_COLUMNS = (
    "writer, number, batch, relationship_type, source_kind, source_key, source_facts, "
    "target_kind, target_key, target_facts, transformation_id, run_id, created_at, facts, hash"
)
_INSERT = (
    f"INSERT INTO store.lineage_log ({_COLUMNS}) "
    "SELECT $1, unnest($2::bigint[]), $3, unnest($4::text[]), unnest($5::text[]), unnest($6::text[]), "
    "unnest($7::text[])::json, unnest($8::text[]), unnest($9::text[]), unnest($10::text[])::json, "
    "unnest($11::text[]), unnest($12::uuid[]), unnest($13::timestamptz[]), "
    "unnest($14::text[])::json, unnest($15::bytea[])"
)


# Locked in the same statement: a writer that is there and has no lock is one whose connection is gone.
_OPEN_WRITER = query_files.read(__package__, "open_writer.sql")
_IS_WRITER = "SELECT true FROM store.lineage_writers WHERE writer = $1 AND opened_at = $2"


@dataclass(frozen=True, slots=True)
class Span:
    """The entries one commit appended: first..last (empty when last = first - 1), and the head after them."""

    writer: int
    first: int
    last: int
    head: bytes


class Writer:
    """Numbers and chains the entries of one connection.

    `append` writes within the caller's transaction and changes nothing here; call `committed` once the
    transaction is. A transaction rolled back leaves no gap: its numbers are given again.
    """

    def __init__(self, writer: int, opened_at: datetime | None = None) -> None:
        self.id = writer
        self.opened_at = opened_at  # of a connection's: after a restore another may bear its number
        self.last = 0
        self.head = FIRST_HEAD

    async def append(self, connection: Connection, batch: int, edges: Sequence[Edge]) -> Span:
        """Append the edges of one batch; returns their span."""
        head, hashes = self.head, []
        for offset, edge in enumerate(edges, start=1):
            head = chain(head, canonical(self.id, self.last + offset, batch, edge))
            hashes.append(head)
        await connection.execute(
            _INSERT,
            self.id,
            [self.last + offset for offset in range(1, len(edges) + 1)],
            batch,
            [edge.relationship_type.value for edge in edges],
            [edge.source.kind.value for edge in edges],
            [edge.source.key for edge in edges],
            [canonical_json(edge.source.facts) for edge in edges],
            [edge.target.kind.value for edge in edges],
            [edge.target.key for edge in edges],
            [canonical_json(edge.target.facts) for edge in edges],
            [edge.transformation_id for edge in edges],
            [edge.run_id for edge in edges],
            [edge.created_at for edge in edges],
            [canonical_json(edge.facts) for edge in edges],
            hashes,
        )
        return Span(self.id, self.last + 1, self.last + len(edges), head)

    def committed(self, span: Span) -> None:
        """The transaction that holds `span` is committed."""
        self.last, self.head = span.last, span.head


async def open_writer(connection: Connection, application: str) -> Writer:
    """Register this connection as a new writer; its number is also a session lock.

    Whoever takes the lock `(WRITER_LOCK, writer)` knows that the writer's connection is gone, and so
    that nothing of it can be committed any more.
    """
    await sequences.set_right(connection)
    row = await connection.fetchrow(_OPEN_WRITER, application, WRITER_LOCK)
    return Writer(row["writer"], row["opened_at"])


async def await_end_of(connection: Connection, writer: Writer) -> None:
    """Return once the connection of `writer` is gone; what it committed is then final.

    A writer that this store does not know, or knows as another one, was lost with a failover or by a restore.
    """
    if not await connection.fetchval(_IS_WRITER, writer.id, writer.opened_at):
        return
    lock = (WRITER_LOCK, writer.id % (1 << 31))
    await connection.execute("SELECT pg_advisory_lock($1, $2)", *lock)
    await connection.execute("SELECT pg_advisory_unlock($1, $2)", *lock)


WRITER_LOCK = 0x48_57  # "HW": the first key of the two-key advisory lock


def chain(head: bytes, entry: bytes) -> bytes:
    """The chain head after an entry: SHA-256 of the head before it and the entry's canonical bytes."""
    return hashlib.sha256(head + entry).digest()


def canonical(writer: int, number: int, batch: int, edge: Edge) -> bytes:
    """An entry as canonical JSON: sorted keys, no spaces, times in microseconds since 1970 UTC."""
    entry = {
        "writer": writer,
        "number": number,
        "batch": batch,
        "relationship_type": edge.relationship_type.value,
        "source": _node(edge.source),
        "target": _node(edge.target),
        "transformation_id": edge.transformation_id,
        "run_id": str(edge.run_id) if edge.run_id else None,
        "created_at": micros(edge.created_at),
        "facts": dict(edge.facts),
    }
    return canonical_json(entry).encode()


def _node(node: Node) -> dict[str, Any]:
    return {"kind": node.kind.value, "key": node.key, "facts": dict(node.facts)}


@dataclass(frozen=True, slots=True)
class Entry:
    """An edge as it stands in the log."""

    writer: int
    number: int
    batch: int
    edge: Edge
    hash: bytes


@dataclass(frozen=True, slots=True)
class Unshown:
    """An entry that is in no graph, and why."""

    writer: int
    number: int
    reason: str


def read_entries(rows: Iterable[Any]) -> tuple[list[Entry], list[Unshown]]:
    """The entries of these rows, and those of which nothing can be read: by hand, or by a later version."""
    entries, unread = [], []
    for row in rows:
        try:
            entries.append(entry_of(row))
        except (ValueError, TypeError) as error:
            unread.append(Unshown(row["writer"], row["number"], f"it cannot be read: {error}"))
    return entries, unread


def entry_of(row: Any) -> Entry:
    """An entry from a row of `store.lineage_log`; raises ValueError or TypeError for what is none."""
    created_at: datetime = row["created_at"]
    edge = Edge(
        relationship_type=RelationshipType(row["relationship_type"]),
        source=Node(NodeKind(row["source_kind"]), row["source_key"], _facts(row["source_facts"])),
        target=Node(NodeKind(row["target_kind"]), row["target_key"], _facts(row["target_facts"])),
        created_at=created_at,
        transformation_id=row["transformation_id"],
        run_id=row["run_id"],
        facts=_facts(row["facts"]),
    )
    return Entry(row["writer"], row["number"], row["batch"], edge, row["hash"])


def _facts(text: str) -> dict[str, Any]:
    facts = json.loads(text)
    if not isinstance(facts, dict):
        raise TypeError("facts that are no object")
    if "\\u" in text:
        json.dumps(facts, ensure_ascii=False).encode()  # half a surrogate pair cannot be written again
    return facts
