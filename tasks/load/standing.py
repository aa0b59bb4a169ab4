"""The rows of a raw batch as they stand, and how one that is replaced moves to the history."""

from collections.abc import Mapping, Sequence

import polars as pl

from infra.postgres import Connection, Pool, Row, translated
from lineage import query_files
from lineage.identifiers import column_of, listed, quoted, stored_table
from tasks.contract import Contract
from tasks.load.change_marks import mark_rows
from tasks.load.plan import Commit
from tasks.tables.rename import standing_columns
from tasks.tables.tables import same_key, stored_columns

# Keys of rows that stand and that this version has not judged, or that are of this raw batch itself.
_UNJUDGED = query_files.read(__package__, "unjudged_keys.sql")
_COMMITS = "SELECT batch FROM store.ledger WHERE batch = $1 OR raw_batch = $1"
ORIGIN = {"input_hash": pl.Int64(), "sequence": pl.Int32(), "part": pl.Int32(), "batch": pl.Int64()}

STANDS = "it stands"
"""Whether a row is not replaced by a newer observation; no contract's column has a space in its name."""

LEFT = "left "
"""Before the name of a column that left the contract: whether the row has a value there."""


def standing_schema(contract: Contract) -> pl.Schema:
    """The contract's columns, where each row came from, and STANDS.

    Rows that were read have a Boolean of each column that left the contract besides (`LEFT`).
    """
    return pl.Schema({**contract.row_schema, **ORIGIN, STANDS: pl.Boolean()})


async def lock(connection: Connection, contract: Contract) -> None:
    """No revision of this table by others until the transaction ends; the same lock as `revise`."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"revise {contract.table}")


async def standing_rows(connection: Connection, raw_batch: int, contract: Contract) -> pl.DataFrame:
    """The newest row of each key that came from a raw batch (`standing_schema`, n).

    One that a newer observation replaced does not stand and is compared all the same; a withdrawn one is out.
    """
    rows = await connection.fetch(_COMMITS, raw_batch)
    numbers = [row["batch"] for row in rows]
    columns, key = listed([*contract.names, *ORIGIN]), listed(contract.key)
    table, history = stored_table(contract.table), stored_table(f"{contract.table}_history")
    left = [name for name in await standing_columns(connection, contract.table) if _has_left(name, contract)]
    valued = "".join(f", {quoted(name)} IS NOT NULL AS {quoted(LEFT + name)}" for name in left)
    found = await connection.fetch(
        f"SELECT DISTINCT ON ({key}) * FROM ("
        f'SELECT {columns}, true AS "{STANDS}"{valued} FROM {table} WHERE batch = ANY($1) UNION ALL '
        f"SELECT {columns}, false{valued} FROM {history} "
        f"WHERE batch = ANY($1) AND replaced_by <> ALL($1)) AS made ORDER BY {key}, batch DESC",
        numbers,
    )
    schema = {**standing_schema(contract), **{f"{LEFT}{name}": pl.Boolean() for name in left}}
    return pl.DataFrame([tuple(row) for row in found], schema=schema, orient="row")


async def standing_where(pool: Pool, contract: Contract, where: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """The rows (the contract's columns, n) that stand with one of the values in each of these columns."""
    given = " AND ".join(f"{quoted(name)} = ANY(${number}::text[])" for number, name in enumerate(where, 1))
    query = (
        f"SELECT {listed(contract.names)} FROM {stored_table(contract.table)} "
        f"WHERE {given or 'true'} ORDER BY {listed(contract.key)}"
    )
    with translated():
        rows = await pool.fetch(query, *map(list, where.values()))
    return pl.DataFrame([tuple(row) for row in rows], schema=contract.row_schema, orient="row")


def _has_left(name: str, contract: Contract) -> bool:
    return name not in stored_columns(contract)


async def move_to_history(commit: Commit, contract: Contract, gone: pl.DataFrame) -> None:
    """Move standing rows (`standing_schema`, n) to the history, and mark what they change."""
    if gone.is_empty():
        return
    table, history = stored_table(contract.table), stored_table(f"{contract.table}_history")
    columns = listed(await standing_columns(commit.connection, contract.table))  # those too that left it
    same = same_key(contract.key, "s", "g")
    within, span = _within(contract, gone)
    await commit.connection.execute(
        f"WITH gone AS (DELETE FROM {table} s USING {key_rows(contract)} AS g WHERE {same}{within} "
        f"RETURNING s.*) INSERT INTO {history} ({columns}, replaced_by) "
        f"SELECT {columns}, {commit.number} FROM gone",
        *key_values(contract, gone),
        *span,
    )
    await mark_rows(commit.connection, contract, gone)


def _within(contract: Contract, rows: pl.DataFrame) -> tuple[str, Sequence[object]]:
    """SQL that leaves out the partitions without these rows, and its parameters, after `key_values`."""
    if contract.is_reference:
        return "", ()
    times, past = rows[contract.time_column], len(contract.key)
    within = f" AND {column_of('s', contract.time_column)} BETWEEN ${past + 1} AND ${past + 2}"
    return within, (times.min(), times.max())


async def taken(connection: Connection, contract: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    """The keys of these rows (n) under which a row stands."""
    names = listed(contract.key)
    found = await connection.fetch(
        f"SELECT {names} FROM {key_rows(contract)} AS a JOIN {stored_table(contract.table)} USING ({names})",
        *key_values(contract, rows),
    )
    return _keys(contract, rows, found)


async def unjudged(commit: Commit, contract: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    """The keys of these rows (n) under which a row stands whose input today's code may read otherwise."""
    past = len(contract.key)
    query = _UNJUDGED.format(
        names=listed(contract.key),
        keys=key_rows(contract),
        table=stored_table(contract.table),
        batch=past + 1,
        version=past + 2,
    )
    version = commit.plan.transformation.id
    found = await commit.connection.fetch(query, *key_values(contract, rows), commit.raw_batch, version)
    return _keys(contract, rows, found)


def _keys(contract: Contract, rows: pl.DataFrame, found: Sequence[Row]) -> pl.DataFrame:
    schema = rows.select(contract.key).schema
    return pl.DataFrame([tuple(row) for row in found], schema=schema, orient="row")


def key_rows(contract: Contract) -> str:
    """SQL: the rows of the first parameters, one array per key column."""
    arrays = (
        f"unnest(${number}::{contract.column(name).postgres_type}[]) AS {quoted(name)}"
        for number, name in enumerate(contract.key, start=1)
    )
    return f"(SELECT {', '.join(arrays)})"


def key_values(contract: Contract, rows: pl.DataFrame) -> Sequence[list[object]]:
    """The parameters of `key_rows`."""
    return [rows[name].to_list() for name in contract.key]
