"""What lies in the folders of pipelines and is not taken, and why: told by a listener, shown to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from infra.postgres import Connection, Pool, translated
from lineage import query_files

MOST = 1_000  # files of a pipeline that are told by name

# What a listener sees now, instead of what it saw before; `since` stays while the reason does.
_TELL = query_files.read(__package__, "tell_not_taken.sql")
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
