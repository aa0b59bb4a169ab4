"""Which listeners there are: the broker keeps messages for each until it leaves with `--drain`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.postgres import Pool, translated
from lineage import query_files

_ENTER = query_files.read(__package__, "enter_listener.sql")
_STANDS = """
SELECT EXISTS (SELECT FROM store.listeners WHERE client_id = $1 AND pipeline = $2 AND left_at IS NULL)
"""
_SEEN = "UPDATE store.listeners SET seen_at = clock_timestamp() WHERE client_id = $1"
_ABSENT = """
SELECT client_id, pipeline, seen_at FROM store.listeners
WHERE left_at IS NULL AND seen_at < clock_timestamp() - $1::interval ORDER BY client_id
"""
_LEAVE = "UPDATE store.listeners SET left_at = clock_timestamp() WHERE client_id = $1"


@dataclass(frozen=True, slots=True)
class Absent:
    """A listener that has not left and is not there."""

    client_id: str
    pipeline: str
    seen_at: datetime


async def enter(pool: Pool, client_id: str, pipeline: str) -> bool:
    """Note that a listener starts; whether the broker should still know its session."""
    with translated():
        return bool(await pool.fetchval(_ENTER, client_id, pipeline))


async def stands(pool: Pool, client_id: str, pipeline: str) -> bool:
    """Whether a listener of that pipeline has a session of this client id; no where there is no table yet."""
    with translated():
        if await pool.fetchval("SELECT to_regclass('store.listeners')") is None:
            return False
        return bool(await pool.fetchval(_STANDS, client_id, pipeline))


async def seen(pool: Pool, client_id: str) -> None:
    """Note that a listener is there."""
    with translated():
        await pool.execute(_SEEN, client_id)


async def leave(pool: Pool, client_id: str) -> None:
    """Note that a listener has left for good and its session is ended."""
    with translated():
        await pool.execute(_LEAVE, client_id)


async def absent(pool: Pool, silent: timedelta) -> list[Absent]:
    """The listeners that were not seen for so long; none when there is no table yet."""
    with translated():
        if await pool.fetchval("SELECT to_regclass('store.listeners')") is None:
            return []
        return [Absent(**row) for row in await pool.fetch(_ABSENT, silent)]
