"""The record commit by commit: a row of the ledger and its entries, as one would tell others about them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from .log import Entry, entry_of
from .ports import Connection

PAGE = 500
"""Commits read at a time."""

_LEDGER = """
SELECT batch, dataset, way, received_until, processed_at, transformation_id, run_id
FROM store.ledger WHERE batch > $1 AND ($2::timestamptz IS NULL OR processed_at >= $2) ORDER BY batch LIMIT $3
"""
_ENTRIES = """
SELECT l.* FROM store.ledger g
JOIN store.lineage_log l ON l.writer = g.writer AND l.number BETWEEN g.first_entry AND g.last_entry
WHERE g.batch = ANY($1::bigint[]) ORDER BY g.batch, l.number
"""

_RUNS = """
SELECT DISTINCT source_key, source_facts->>'name' AS name FROM store.lineage_log
WHERE relationship_type = 'RAN' AND source_facts->>'name' IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCommit:
    """One commit as the record has it."""

    batch: int
    dataset: str  # where it came from
    way: str
    received_until: datetime
    processed_at: datetime
    transformation_id: str
    entries: Sequence[Entry]


async def read_commits(
    connection: Connection, since: datetime | None = None
) -> AsyncGenerator[RecordedCommit, None]:
    """Every commit processed at or after `since`, by number, from one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        after = -1
        while rows := await connection.fetch(_LEDGER, after, since, PAGE):
            after = rows[-1]["batch"]
            entries: dict[int, list[Entry]] = {row["batch"]: [] for row in rows}
            for entry in await connection.fetch(_ENTRIES, list(entries)):
                entries[entry["batch"]].append(entry_of(entry))
            for row in rows:
                yield RecordedCommit(
                    batch=row["batch"],
                    dataset=row["dataset"],
                    way=row["way"],
                    received_until=row["received_until"],
                    processed_at=row["processed_at"],
                    transformation_id=row["transformation_id"],
                    entries=entries[row["batch"]],
                )


async def run_names(connection: Connection) -> Mapping[UUID, str]:
    """Run → its name, of every run the record knows; reads the whole log."""
    return {UUID(row["source_key"]): row["name"] for row in await connection.fetch(_RUNS)}
