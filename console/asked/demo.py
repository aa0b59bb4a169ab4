"""What the demo asks of the store: how far what was sent has come, and what became of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from infra.postgres import Pool, translated
from lineage.identifiers import published_view

_TOTALS = """
SELECT coalesce(sum(read), 0)::bigint AS read, coalesce(sum(accepted), 0)::bigint AS accepted,
    coalesce(sum(rejected), 0)::bigint AS rejected, coalesce(sum(duplicates), 0)::bigint AS duplicates,
    coalesce(sum(filtered), 0)::bigint AS filtered
FROM store.ledger WHERE raw_digest IS NOT NULL
"""
_ARRIVED = """
SELECT (SELECT coalesce(sum(read), 0)::bigint FROM store.ledger WHERE dataset LIKE 'mqtt:%') AS readings,
    (SELECT count(*) FROM experiments WHERE status IN ('succeeded', 'failed', 'stopped')) AS ended_runs,
    (SELECT count(*) FROM store.change_marks) AS changed_buckets,
    (SELECT count(*) FROM unnest($1::text[]) AS name WHERE NOT EXISTS (
        SELECT FROM store.mark_readers WHERE reader = name AND filled_at IS NOT NULL
    )) AS not_made
"""
# A reading that every step had something to say about.
_ENRICHED = """
SELECT device_id, "timestamp"::text AS "timestamp" FROM sensor_readings
WHERE dew_point IS NOT NULL AND place IS NOT NULL AND device_name IS NOT NULL
ORDER BY "timestamp" DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What became of all records that were ever read."""

    read: int
    accepted: int
    rejected: int
    duplicates: int
    filtered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Messages of devices that are committed, robot runs stored with their end, buckets not summed up yet.

    `not_made`: how many derived tables were never made.
    """

    readings: int
    ended_runs: int
    changed_buckets: int
    not_made: int


async def totals(pool: Pool) -> Totals:
    """What became of everything read so far."""
    return Totals(**await _row(pool, _TOTALS))


async def arrived(pool: Pool, derived: Collection[str]) -> Arrived:
    """How far what was sent has come, also into these derived tables."""
    return Arrived(**await _row(pool, _ARRIVED, list(derived)))


async def rows_of(pool: Pool, table: str) -> int:
    """How many rows a table of a contract holds."""
    with translated():
        rows: int = await pool.fetchval(f"SELECT count(*) FROM {published_view(table)}")
    return rows


async def an_enriched_reading(pool: Pool) -> dict[str, str] | None:
    """The key (column → text) of the newest reading with a device, a place and a dew point."""
    with translated():
        key = await pool.fetchrow(_ENRICHED)
    return None if key is None else dict(key)


async def _row(pool: Pool, query: str, *values: object) -> Mapping[str, Any]:
    with translated():
        return dict(await pool.fetchrow(query, *values) or {})
