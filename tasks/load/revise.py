"""Revisions: of two observations of one key the newer stands, the older is kept in history."""

import polars as pl

from infra.postgres import Connection, copy_frame
from tasks.contract import Contract
from tasks.load.row_id import only


async def revise(connection: Connection, contract: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    """Store rows that say something new about their key; returns them. The rest are duplicates.

    One revision of a table at a time: two fetches of one run must not both take themselves for the newest.
    """
    if rows.is_empty():
        return rows
    table, columns = contract.table, ", ".join(rows.columns)
    same = " AND ".join(f"s.{name} = g.{name}" for name in contract.key)
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"revise {table}")
    await connection.execute(f"CREATE TEMP TABLE revision (LIKE store.{table}) ON COMMIT DROP")
    await copy_frame(connection, rows, "revision", schema=None)
    await connection.execute(
        f"DELETE FROM revision g USING store.{table} s WHERE {same} AND s.input_hash = g.input_hash"
    )
    news = await connection.fetch("SELECT sequence, part FROM revision")
    await connection.execute(
        f"INSERT INTO store.{table}_history ({columns}, replaced_by) "
        f"SELECT {_qualified('s', rows)}, g.batch FROM store.{table} s JOIN revision g ON {same} "
        "WHERE g.observed_at >= s.observed_at"
    )
    await connection.execute(
        f"INSERT INTO store.{table}_history ({columns}, replaced_by) "
        f"SELECT {_qualified('g', rows)}, s.batch FROM store.{table} s JOIN revision g ON {same} "
        "WHERE g.observed_at < s.observed_at"
    )
    await connection.execute(
        f"DELETE FROM revision g USING store.{table} s WHERE {same} AND g.observed_at < s.observed_at"
    )
    await connection.execute(f"DELETE FROM store.{table} s USING revision g WHERE {same}")
    await connection.execute(f"INSERT INTO store.{table} ({columns}) SELECT {columns} FROM revision")
    await connection.execute("DROP TABLE revision")
    return only(rows, news)


def _qualified(alias: str, rows: pl.DataFrame) -> str:
    return ", ".join(f"{alias}.{name}" for name in rows.columns)
