"""Replaced rows: each says which commit replaced it, and that commit must be one that did.

    NAME_history ── replaced_by ─▶ a newer observation of the key (a table that revises), or
                                   a reprocess of the raw batch it was made from ─▶ NAME_history#BATCH

A row moved there by hand would vanish from what people query, and its batch would still add up. So an
observation must be older than the one that replaced it, what stands must be the newest, and what a reprocess
moved is what its entry says: a digest of which rows. A reprocess of before that was kept says nothing, and
could have moved any row of its raw batch.
"""

from collections.abc import AsyncIterator

from .. import query_files
from ..acts import REPROCESS, history, moved
from ..identifiers import stored_table
from ..model import batch_node
from ..ports import Connection
from ..stored import TableShape
from .batches import LEAST

# Row `h` was made again from its raw batch, or was not made any more.
_MADE_AGAIN = f"""
coalesce(
    g.way = '{REPROCESS}' AND g.raw_batch = coalesce(h.raw_batch, h.batch) AND h.batch < h.replaced_by, false
)
"""
_NEW = "(h.batch >= $1 OR h.replaced_by >= $1)"
_NOT_REPLACED = query_files.read(__package__, "not_replaced.sql")
# A later observation of the same key, which stands or was replaced in its turn.
_OBSERVED = query_files.read(__package__, "observed_later.sql")
# Once a reprocess withdrew a key's newest row, an older observation that comes may stand.
_NOT_NEWEST = query_files.read(__package__, "not_newest.sql")
_REPROCESSED = """
SELECT batch, raw_batch FROM store.ledger
WHERE batch >= $1 AND way = $2 AND raw_batch IS NOT NULL ORDER BY batch
"""
_SAID = """
SELECT DISTINCT target_key, target_facts->>'rows' AS rows, target_facts->>'digest' AS digest
FROM store.lineage_log WHERE batch = $1 AND relationship_type = 'FEEDS' AND target_key = $2
"""


async def check_history(connection: Connection, shape: TableShape, first: int) -> AsyncIterator[str]:
    """The replaced rows of one table; of batches from `first` on, or replaced by one of them."""
    same = " AND ".join(f's."{name}" = h."{name}"' for name in shape.key)
    revises = shape.kind == "revise"
    words = {
        "table": stored_table(shape.name),
        "history": stored_table(f"{shape.name}_history"),
        "same": same,
        "new": "$1::bigint IS NOT NULL" if first == LEAST else _NEW,
        "made_again": _MADE_AGAIN,
        "observed": _OBSERVED.format(
            table=stored_table(shape.name), history=stored_table(f"{shape.name}_history"), same=same
        )
        if revises
        else "false",
    }
    for row in await connection.fetch(_NOT_REPLACED.format(**words), first):
        yield (
            f"{shape.name}_history: {row['rows']} row(s) of batch {row['batch']} are said to be replaced by "
            f"batch {row['replaced_by']}, which did not replace them"
        )
    if revises:
        words["withdrawn"] = " AND ".join(f'h2."{name}" = h."{name}"' for name in shape.key)
        words["new"] = "$1::bigint IS NOT NULL" if first == LEAST else f"({_NEW} OR s.batch >= $1)"
        for row in await connection.fetch(_NOT_NEWEST.format(**words), first):
            yield (
                f"{shape.name}: {row['rows']} row(s) of batch {row['batch']} stand, and a newer observation "
                "of their key is in the history"
            )
    async for difference in _check_reprocessed(connection, shape, first):
        yield difference


async def _check_reprocessed(connection: Connection, shape: TableShape, first: int) -> AsyncIterator[str]:
    """What each reprocess moved to the history of a table, where its entry says so."""
    for row in await connection.fetch(_REPROCESSED, first, REPROCESS):
        number = row["batch"]
        said = await connection.fetchrow(_SAID, number, batch_node(history(shape.name), number).key)
        if said is None:
            continue
        found = await moved(connection, shape.name, number, row["raw_batch"])
        if (said["rows"], said["digest"]) != (str(found.rows), found.digest):
            yield (
                f"{shape.name}_history, batch {number}: it replaced {said['rows']} row(s), and the "
                f"{found.rows} that are said to be replaced by it are not those"
            )
