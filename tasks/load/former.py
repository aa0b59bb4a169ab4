"""What a pipeline's transformation was called before it bore the pipeline's name.

It bore that of its transform, as that of every other pipeline of the same transform did (`readings@…`). So
the first commit under the new name says which of those it supersedes: the one that it committed by last.
"""

from lineage import query_files
from lineage.ports import Connection

_FORMER = """
SELECT transformation_id FROM store.ledger WHERE pipeline = $1 ORDER BY batch DESC LIMIT 1
"""
# The others' newest commits: what one of them still is made by stays in force until that one commits itself.
_SHARED = query_files.read(__package__, "shared_version.sql")


async def former_of(connection: Connection, pipeline: str) -> str | None:
    """The transformation of another name that the pipeline used last (`name@version`), if it was its alone.

    Of two pipelines that shared one, and begin at the same time, the second one waits for the first, and sees
    its commit: it is then the last to leave.
    """
    former = await connection.fetchval(_FORMER, pipeline)
    if former is None or former.startswith(f"{pipeline}@"):
        return None
    name = former.rpartition("@")[0]
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"reign {name}")
    return None if await connection.fetchval(_SHARED, pipeline, former) else str(former)
