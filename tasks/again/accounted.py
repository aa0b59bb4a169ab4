"""Whether everything that a batch's messages make is somewhere: stored, rejected, filtered, or said by a row.

Asked in that order, the cheap questions first: of most batches nothing is left after the first.
"""

from collections.abc import Mapping

import polars as pl

from infra.postgres import Connection
from lineage.identifiers import stored_table
from tasks.batch import PLACE_SCHEMA, Refined
from tasks.canonical import canonical_key
from tasks.layout import without_places
from tasks.load.filtered import filtered_among
from tasks.load.plan import Commit
from tasks.load.raw import StoredRaw
from tasks.load.rejected import identities, rejected_among
from tasks.load.row_id import ROW, RowId, without
from tasks.load.settle import stored_alike

_REJECTED = """
SELECT sequence, part FROM store.rejected
WHERE raw_batch = $1 OR (batch = $1 AND raw_batch IS NULL)
"""
_COMMITS = "(SELECT batch FROM store.ledger WHERE batch = $1 OR raw_batch = $1)"


async def unaccounted(
    commit: Commit, raw: StoredRaw, refined: Refined, stored: Mapping[str, pl.DataFrame]
) -> list[tuple[str, RowId]]:
    """Table (or `rejected`, `filtered`) and place of what nothing tells of.

    `stored`: table → rows of this commit.
    """
    accepted = {table: without(rows, stored[table]) for table, rows in refined.accepted.items()}
    refused, filtered = refined.rejected, refined.filtered_rows
    if not (refused.height or filtered.height or any(map(len, accepted.values()))):
        return []
    records = await commit.connection.fetch(_REJECTED, raw.number)
    judged = _places([tuple(record) for record in records])
    left = [("rejected", without_places(refused, judged)), ("filtered", without_places(filtered, judged))]
    for table, rows in accepted.items():
        placed = await _placed(commit.connection, table, raw.number)
        left.append((table, without_places(rows, pl.concat([judged, placed]))))
    return [(what, at) for what, rows in left for at in await _untold(commit, what, rows)]


async def _placed(connection: Connection, table: str, raw_batch: int) -> pl.DataFrame:
    """Where rows of any commit of the raw batch stand in it (PLACE_SCHEMA, n), replaced ones too."""
    within = f"WHERE batch IN {_COMMITS}"
    each = (
        f"SELECT sequence, part FROM {stored_table(name)} {within}" for name in (table, f"{table}_history")
    )
    rows = await connection.fetch(" UNION ".join(each), raw_batch)
    return _places([tuple(row) for row in rows])


def _places(places: list[tuple[int, int | None]]) -> pl.DataFrame:
    return pl.DataFrame(places, schema=PLACE_SCHEMA, orient="row")


async def _untold(commit: Commit, what: str, rows: pl.DataFrame) -> list[RowId]:
    """The rows that were neither rejected nor filtered with these bytes nor say what a stored row says."""
    if rows.is_empty():
        return []
    ids = identities(commit, rows)
    known = [await among(commit.connection, ids.unique()) for among in (rejected_among, filtered_among)]
    rows = rows.filter(~ids.is_in(pl.concat(known).implode())).with_row_index("row")
    told: list[int] = []
    for table, contract in commit.plan.contracts.items():
        if what in ("rejected", "filtered"):
            asked = rows.filter((pl.col("table") == table) & pl.col("key").is_not_null())
        elif what == table:
            asked = rows.with_columns(canonical_key(rows, contract))
        else:
            continue
        for name in (table, f"{table}_history"):
            told += await stored_alike(commit, contract, asked, name) if asked.height else []
    return rows.filter(~pl.col("row").is_in(told)).select(ROW).rows()
