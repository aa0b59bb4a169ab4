"""What lies in the folders of pipelines and is not taken, and why: told by a listener, shown to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from infra.postgres import Connection, Pool, translated

MOST = 1_000  # files of a pipeline that are told by name

# What a listener sees now, instead of what it saw before; `since` stays while the reason does.
_TELL = """
WITH seen AS (SELECT * FROM unnest($2::text[], $3::text[]) AS s (path, why)),
gone AS (
    DELETE FROM store.files_not_taken WHERE pipeline = $1 AND path NOT IN (SELECT path FROM seen)
)
INSERT INTO store.files_not_taken AS f (pipeline, path, why) SELECT $1, path, why FROM seen
ON CONFLICT (pipeline, path) DO UPDATE SET why = excluded.why, since = excluded.since
    WHERE f.why <> excluded.why
"""
_NOT_TAKEN = "SELECT pipeline, path, why, since FROM store.files_not_taken ORDER BY pipeline, since, path"


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A file that lies in a folder; `path`: below it."""

    pipeline: str
    path: str
    why: str
    since: datetime


async def tell_not_taken(pool: Pool, pipeline: str, found: Mapping[str, str]) -> None:
    """Note what lies in a pipeline's folder and is not taken: its name, and why."""
    told = dict(sorted(found.items())[:MOST])
    if more := len(found) - len(told):
        told["…"] = f"and {more:,} more"
    with translated():
        await pool.execute(_TELL, pipeline, list(told), list(told.values()))


async def not_taken(connection: "Connection | Pool") -> tuple[NotTaken, ...]:
    """Of every pipeline, the oldest first; none when there is no table yet."""
    with translated():
        if await connection.fetchval("SELECT to_regclass('store.files_not_taken')") is None:
            return ()
        return tuple(NotTaken(**row) for row in await connection.fetch(_NOT_TAKEN))
