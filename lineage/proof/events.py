"""Events of triggers against the entries that tell of them: what each said, which run it led to."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from lineage.trigger_events import EVENT, EVENTS, START, digest_of

from ..model import batch_node
from ..ports import Connection
from ..stored import chunks
from .books import Books

_EVENTS = "SELECT * FROM store.trigger_events WHERE batch >= $1 AND batch < $2 ORDER BY batch"
_STARTED = "SELECT * FROM store.trigger_events WHERE started_by >= $1 AND started_by < $2 ORDER BY batch"
_SAID = """
SELECT batch, target_facts->>'digest' AS digest FROM store.lineage_log
WHERE batch >= $1 AND batch < $2 AND relationship_type = 'FEEDS' AND target_key = $3 || batch
"""
_STARTS = """
SELECT batch, source_key, target_facts->>'event' AS event, target_facts->>'flow_run' AS flow_run
FROM store.lineage_log
WHERE batch >= $1 AND batch < $2 AND relationship_type = 'FEEDS' AND starts_with(source_key, $3)
"""


async def check_events(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    """Every event is what was recorded of it, and has the flow run that was; from both sides."""
    accepted = {n for n, row in books.ledger.items() if row["way"] == EVENT and row["accepted"]}
    said = await connection.fetch(_SAID, first, end, f"{EVENTS}#")
    digests = {row["batch"]: row["digest"] for row in said}
    async for rows in chunks(connection, _EVENTS, first, end):
        for row in rows:
            what = f"trigger_events, batch {row['batch']}"
            if row["batch"] not in accepted:
                yield f"{what}: an event that is not in the ledger"
            elif digests.get(row["batch"]) != digest_of(row):
                yield f"{what}: what is said of the event is not what was recorded"
            elif (row["flow_run"] is None) != (row["started_by"] is None):
                yield f"{what}: its flow run is one that no batch started"
            accepted.discard(row["batch"])
    for number in sorted(accepted):
        yield f"trigger_events, batch {number}: its event is not stored"
    async for difference in _check_starts(connection, books, first, end):
        yield difference


async def _check_starts(connection: Connection, books: Books, first: int, end: int) -> AsyncIterator[str]:
    starts = {number for number, row in books.ledger.items() if row["way"] == START}
    rows = await connection.fetch(_STARTS, first, end, f"{EVENTS}#")
    told = {row["batch"]: row for row in rows}
    async for some in chunks(connection, _STARTED, first, end):
        for row in some:
            number = row["started_by"]
            what = f"trigger_events, batch {row['batch']}"
            if number not in starts:
                yield f"{what}: it is said to be started by batch {number}, which is no start in the ledger"
            elif _told(told.get(number)) != _stands(row):
                yield f"{what}: its flow run is not the one that was recorded"
            starts.discard(number)
    for number in sorted(starts):
        yield f"trigger_events: no event has the flow run that batch {number} started"


def _told(entry: Mapping[str, Any] | None) -> tuple[str, ...]:
    return (entry["source_key"], entry["event"], entry["flow_run"]) if entry else ()


def _stands(row: Mapping[str, Any]) -> tuple[str, ...]:
    return batch_node(EVENTS, row["batch"]).key, str(row["event"]), str(row["flow_run"])
