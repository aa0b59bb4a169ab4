"""Revisions: of two observations of one key the newer stands, the older is kept in history."""

import polars as pl

from infra.postgres import Connection, copy_frame
from lineage.identifiers import listed, stored_table
from tasks.contract import Contract
from tasks.load.row_id import only
from tasks.load.standing import lock
from tasks.tables.rename import standing_columns
from tasks.tables.tables import same_key

# Rows that came (g) and say what stands (s).
_WITHOUT_UNCHANGED = "DELETE FROM revision g USING {table} s WHERE {same} AND s.input_hash = g.input_hash"
_OLDER_TO_HISTORY = """
INSERT INTO {history} ({every}, replaced_by)
SELECT {standing}, g.batch FROM {table} s JOIN revision g ON {same} WHERE g.observed_at >= s.observed_at
"""
_LATE_TO_HISTORY = """
INSERT INTO {history} ({columns}, replaced_by)
SELECT {coming}, s.batch FROM {table} s JOIN revision g ON {same} WHERE g.observed_at < s.observed_at
"""
_WITHOUT_LATE = "DELETE FROM revision g USING {table} s WHERE {same} AND g.observed_at < s.observed_at"
_WITHOUT_OLDER = "DELETE FROM {table} s USING revision g WHERE {same}"
_NEWER = "INSERT INTO {table} ({columns}) SELECT {columns} FROM revision"
_STORE = (_OLDER_TO_HISTORY, _LATE_TO_HISTORY, _WITHOUT_LATE, _WITHOUT_OLDER, _NEWER)


async def revise(connection: Connection, contract: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    """Store rows that say something new about their key; returns them. The rest are duplicates.

    One revision of a table at a time: two fetches of one run must not both take themselves for the newest.
    """
    if rows.is_empty():
        return rows
    every = await standing_columns(connection, contract.table)  # those too that left the contract
    names = {
        "table": stored_table(contract.table),
        "history": stored_table(f"{contract.table}_history"),
        "every": listed(every),
        "same": same_key(contract.key, "s", "g"),
        "columns": listed(rows.columns),
        "standing": listed(every, "s"),
        "coming": listed(rows.columns, "g"),
    }
    await lock(connection, contract)
    await connection.execute(
        f"CREATE TEMP TABLE revision (LIKE {stored_table(contract.table)}) ON COMMIT DROP"
    )
    await copy_frame(connection, rows, "revision", schema=None)
    await connection.execute(_WITHOUT_UNCHANGED.format(**names))
    news = await connection.fetch("SELECT sequence, part FROM revision")
    for statement in _STORE:
        await connection.execute(statement.format(**names))
    await connection.execute("DROP TABLE revision")
    return only(rows, news)
