"""The rows of a raw batch as they stand, and how one that is replaced moves to the history."""

from collections.abc import Sequence

import polars as pl

from infra.postgres import Connection
from lineage.identifiers import column_of, listed, quoted, stored_table
from tasks.contract import POSTGRES_TYPES, Contract
from tasks.load.change_marks import mark_rows
from tasks.load.plan import Commit
from tasks.load.tables import same_key, stored_columns

_COMMITS = "SELECT batch FROM store.ledger WHERE batch = $1 OR raw_batch = $1"
ORIGIN = {"input_hash": pl.Int64(), "sequence": pl.Int32(), "part": pl.Int32(), "batch": pl.Int64()}

STANDS = "it stands"
"""Whether a row is not replaced by a newer observation; no contract's column has a space in its name."""


def standing_schema(contract: Contract) -> pl.Schema:
    """The contract's columns, where each row came from, and STANDS."""
    return pl.Schema({**contract.row_schema, **ORIGIN, STANDS: pl.Boolean()})


async def lock(connection: Connection, contract: Contract) -> None:
    """No revision of this table by others until the transaction ends; the same lock as `revise`."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"revise {contract.table}")


async def standing_rows(commit: Commit, contract: Contract) -> pl.DataFrame:
    """The newest row of each key that came from the commit's raw batch (`standing_schema`, n).

    One that a newer observation replaced does not stand and is compared all the same; a withdrawn one is out.
    """
    rows = await commit.connection.fetch(_COMMITS, commit.raw_batch)
    numbers = [row["batch"] for row in rows]
    columns, key = listed([*contract.names, *ORIGIN]), listed(contract.key)
    table, history = stored_table(contract.table), stored_table(f"{contract.table}_history")
    found = await commit.connection.fetch(
        f'SELECT DISTINCT ON ({key}) {columns}, "{STANDS}" FROM ('
        f'SELECT {columns}, true AS "{STANDS}" FROM {table} WHERE batch = ANY($1) UNION ALL '
        f"SELECT {columns}, false FROM {history} "
        f"WHERE batch = ANY($1) AND replaced_by <> ALL($1)) AS made ORDER BY {key}, batch DESC",
        numbers,
    )
    return pl.DataFrame([tuple(row) for row in found], schema=standing_schema(contract), orient="row")


async def move_to_history(commit: Commit, contract: Contract, gone: pl.DataFrame) -> None:
    """Move standing rows (`standing_schema`, n) to the history, and mark their hours for the aggregates."""
    if gone.is_empty():
        return
    table, columns = stored_table(contract.table), listed(stored_columns(contract))
    history = stored_table(f"{contract.table}_history")
    same = same_key(contract.key, "s", "g")
    times, past = gone[contract.time], len(contract.key)
    await commit.connection.execute(
        f"WITH gone AS (DELETE FROM {table} s USING {key_rows(contract)} AS g WHERE {same} "
        f"AND {column_of('s', contract.time)} BETWEEN ${past + 1} AND ${past + 2} "
        f"RETURNING s.*) INSERT INTO {history} ({columns}, replaced_by) "
        f"SELECT {columns}, {commit.number} FROM gone",
        *key_values(contract, gone),
        times.min(),
        times.max(),
    )
    await mark_rows(commit.connection, contract, gone)


async def taken(connection: Connection, contract: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    """The keys of these rows (n) under which a row stands."""
    names = listed(contract.key)
    found = await connection.fetch(
        f"SELECT {names} FROM {key_rows(contract)} AS a JOIN {stored_table(contract.table)} USING ({names})",
        *key_values(contract, rows),
    )
    schema = rows.select(contract.key).schema
    return pl.DataFrame([tuple(row) for row in found], schema=schema, orient="row")


def key_rows(contract: Contract) -> str:
    """SQL: the rows of the first parameters, one array per key column."""
    arrays = (
        f"unnest(${number}::{POSTGRES_TYPES[contract.column(name).type]}[]) AS {quoted(name)}"
        for number, name in enumerate(contract.key, start=1)
    )
    return f"(SELECT {', '.join(arrays)})"


def key_values(contract: Contract, rows: pl.DataFrame) -> Sequence[list[object]]:
    """The parameters of `key_rows`."""
    return [rows[name].to_list() for name in contract.key]
