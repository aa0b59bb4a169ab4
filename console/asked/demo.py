"""What the demo asks of the store: how far what was sent has come, and what became of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from infra.postgres import Pool, translated
from lineage import query_files
from lineage.identifiers import published_view

_TOTALS = query_files.read(__package__, "totals.sql")
_ARRIVED = query_files.read(__package__, "arrived.sql")
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
