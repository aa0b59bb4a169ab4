"""A commit that writes no table of a contract: its entries, on a chain that is free, and its ledger row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from . import query_files, sequences
from .columns import ColumnEdge
from .log import FIRST_HEAD, WRITER_LOCK, Span, Writer
from .model import Edge, Node, RelationshipType, Transformation, transformation_node
from .ports import Connection
from .row_digest import VERSION
from .transformations import Introduction, introduce

_LEDGER = query_files.read(__package__, "book_act.sql")
_WITHOUT_READER = _LEDGER.format(column="", value="")
_WITH_READER = _LEDGER.format(column=", pipeline", value=", $22")
"""Who read the messages; the engine alone has no such column, and no messages."""
_NEXT = """
SELECT nextval('store.batch_number') AS number, clock_timestamp() AS at,
    (SELECT max(batch) FROM store.ledger) AS newest
"""
_LAST = "SELECT number, hash FROM store.lineage_log WHERE writer = $1 ORDER BY number DESC LIMIT 1"

_INTRODUCED = query_files.read(__package__, "is_introduced.sql")

Relation = tuple[RelationshipType, Node, Node]
Columns = Mapping[str, Sequence[ColumnEdge]]
"""Target dataset → what its columns come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """The messages that such a commit brought: their digest, who read them, and what became of them."""

    raw_digest: bytes
    pipeline: str
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    filtered: int = 0

    @property
    def read(self) -> int:
        return self.accepted + self.rejected + self.duplicates + self.filtered


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What a commit without rows of ours says of itself in the ledger."""

    number: int
    dataset: str
    way: str
    transformation: Transformation
    run_id: UUID | None
    at: datetime
    received_at: datetime
    position_id: str | None = None
    rejected_sum: int = 0  # of its verdicts on rejected records, see `rejected.py`
    digest_key: str | None = None  # the name of the key that it was made with
    brought: Brought | None = None


class NextBatch(NamedTuple):
    """A commit that is to come: its number, and when it is, by Postgres' clock. Hosts may be a day apart."""

    number: int
    at: datetime


async def next_batch(connection: Connection) -> NextBatch:
    """The number of the commit that is to come, above all that are committed.

    What this statement sees was committed before it, and so took its number before: where one is not lower,
    the sequence is behind the ledger, and is set right.
    """
    while True:
        row = await connection.fetchrow(_NEXT)
        if row["newest"] is None or row["newest"] < row["number"]:
            return NextBatch(row["number"], row["at"])
        await sequences.set_right(connection)


async def write(
    connection: Connection, commit: LedgerEntry, run: Node, relations: Iterable[Relation], columns: Columns
) -> Span:
    """Append the relations and the commit's row of the ledger; `connection` must be in a transaction.

    A version of a transformation is introduced by the first commit of it: its `columns`, what it supersedes.
    """
    ran = (RelationshipType.RAN, run, transformation_node(commit.transformation))
    edges = [
        Edge(
            relationship_type=kind,
            source=source,
            target=target,
            created_at=commit.at,
            transformation_id=commit.transformation.id,
            run_id=commit.run_id,
        )
        for kind, source, target in (ran, *relations)
    ]
    edges += await _introduction(connection, commit, columns)
    writer = await _continued(connection, f"record {commit.way}")
    span = await writer.append(connection, commit.number, edges)
    await write_ledger(connection, commit, span)
    return span


async def write_ledger(connection: Connection, commit: LedgerEntry, span: Span) -> None:
    """A commit's row of the ledger, with the entries it appended."""
    brought = commit.brought
    books = (
        (brought.read, brought.accepted, brought.rejected, brought.duplicates, brought.filtered)
        if brought
        else (0, 0, 0, 0, 0)
    )
    await connection.execute(
        _WITH_READER if brought else _WITHOUT_READER,
        commit.number,
        commit.dataset,
        commit.position_id,
        commit.received_at,
        commit.at,
        commit.way,
        commit.transformation.id,
        commit.run_id,
        span.writer,
        span.first,
        span.last,
        span.head,
        commit.rejected_sum,
        VERSION,
        commit.digest_key,
        *books,
        brought.raw_digest if brought else None,
        *([brought.pipeline] if brought else []),
    )


async def _introduction(connection: Connection, commit: LedgerEntry, columns: Columns) -> list[Edge]:
    """Nothing for a version in force: to introduce one takes a lock that lasts as long as the transaction."""
    of = commit.transformation
    told = [target for target, found in columns.items() if found]
    if await connection.fetchval(_INTRODUCED, of.name, of.id, told):
        return []
    what = Introduction(transformation=of, source="", columns=columns)
    return await introduce(connection, what, batch=commit.number, run_id=commit.run_id)


async def _continued(connection: Connection, application: str) -> Writer:
    """A chain that nobody is writing to, continued for this transaction; a new one if all are busy.

    Whoever holds its lock to the end of a transaction sees all that was committed to it before. So there
    are as many chains as there are transactions at once, and not one per flow run.
    """
    known = "SELECT writer FROM store.lineage_writers WHERE application = $1 ORDER BY writer"
    for row in await connection.fetch(known, application):
        if await connection.fetchval("SELECT pg_try_advisory_xact_lock($1, $2)", *_lock(row["writer"])):
            return await _at_its_end(connection, row["writer"])
    await sequences.set_right(connection)
    writer = await connection.fetchval(
        "INSERT INTO store.lineage_writers (application) VALUES ($1) RETURNING writer", application
    )
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", *_lock(writer))
    return Writer(writer)


async def _at_its_end(connection: Connection, number: int) -> Writer:
    writer = Writer(number)
    last = await connection.fetchrow(_LAST, number)
    writer.last, writer.head = (last["number"], last["hash"]) if last else (0, FIRST_HEAD)
    return writer


def _lock(writer: int) -> tuple[int, int]:
    return WRITER_LOCK, writer % (1 << 31)
