"""Curated tables made from their contracts: time-series tables, partitioned, with a view for people.

A stored table is `store.NAME` and what people query is the view `public.NAME`. A table fed by messages also
gets `store.NAME_history`, its rows that were replaced, and `store.NAME_quarantine`, the keys of rows that the
view leaves out. Preparing a table again adds the columns that are new in its
contract and changes nothing else.
"""

import hashlib
import json
from collections.abc import Iterable

import polars as pl

from infra.migrate import LOCK
from infra.postgres import Connection, translated
from lineage.digest import row_hashes, sum_of
from lineage.errors import ContractError
from lineage.identifiers import column_of, listed, published_view, quoted, stored_table
from tasks.contract import POSTGRES_TYPES, Contract, OnReturn
from tasks.load.table_names import refuse_taken_name

LAYOUT = 2
"""Counts the changes of what is made for a contract, so that a table that stands is prepared once more."""

ORIGIN_COLUMNS: dict[str, str] = {
    "processed_at": "timestamptz NOT NULL",
    "batch": "bigint NOT NULL",
    "raw_batch": "bigint",
    "sequence": "integer NOT NULL",
    "part": "integer",
    "input_hash": "bigint NOT NULL",
}
"""What every row of a table fed by messages carries: its commit, and the way back to its bytes."""

REVISION_COLUMNS: dict[str, str] = {"observed_at": "timestamptz NOT NULL"}
"""When the source said so: of two observations of one key the newer one stands."""

AGGREGATE_COLUMNS: dict[str, str] = {"processed_at": "timestamptz NOT NULL", "batch": "bigint NOT NULL"}

HASHED_ORIGIN: dict[str, pl.DataType] = {
    "processed_at": pl.Datetime("us", "UTC"),
    "raw_batch": pl.Int64(),
    "sequence": pl.Int32(),
    "part": pl.Int32(),
    "input_hash": pl.Int64(),
    "observed_at": pl.Datetime("us", "UTC"),
}
"""What a row's hash covers after the columns of its contract, where its table has it."""

FIXED = ("key", "time", "on_return", "partition_by")
"""What a table is made for and keeps: another key would take rows of today for repetitions of before."""


def stored_columns(contract: Contract) -> dict[str, str]:
    """Every column of the stored table and its Postgres type, in order."""
    columns = {
        column.name: POSTGRES_TYPES[column.type] + (" NOT NULL" if column.name in contract.key else "")
        for column in contract.columns
    }
    if contract.on_return is OnReturn.RECOMPUTE:
        return columns | AGGREGATE_COLUMNS
    if contract.on_return is OnReturn.REVISE:
        return columns | ORIGIN_COLUMNS | REVISION_COLUMNS
    return columns | ORIGIN_COLUMNS


def hashed_origin(contract: Contract) -> pl.Schema:
    """The origin columns of the stored table that a row's hash covers, in order."""
    stored = stored_columns(contract)
    return pl.Schema({name: type_ for name, type_ in HASHED_ORIGIN.items() if name in stored})


def values_sum(contract: Contract, rows: pl.DataFrame) -> int:
    """The sum of the row hashes of stored rows (n): what they say and where they came from."""
    origin = hashed_origin(contract)
    lacking = [
        pl.lit(None, dtype=type_).alias(name) for name, type_ in origin.items() if name not in rows.columns
    ]
    return sum_of(row_hashes(rows.with_columns(lacking), [*contract.names, *origin]))


def has_history(contract: Contract) -> bool:
    """Whether its rows come from messages, so that each can be replaced, taken out and made again."""
    return contract.on_return is not OnReturn.RECOMPUTE


async def prepare_table(connection: Connection, contract: Contract) -> None:
    """Create or extend the contract's table, history and view; record the contract's version."""
    text = json.dumps(contract.model_dump(mode="json"), sort_keys=True)
    digest = hashlib.sha256(f"{LAYOUT} {text}".encode()).hexdigest()
    with translated():
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            known = "SELECT FROM store.contracts WHERE table_name = $1 AND hash = $2"
            if await connection.fetchrow(known, contract.table, digest) is not None:
                return
            await _refuse_another_kind(connection, contract)
            await _create(connection, contract)
            await _extend(connection, contract)
            await connection.execute(
                "INSERT INTO store.contracts (table_name, version, hash, contract) VALUES ($1, $2, $3, $4)",
                contract.table,
                contract.version,
                digest,
                text,
            )


async def _refuse_another_kind(connection: Connection, contract: Contract) -> None:
    """Raise ContractError when what stands is another's, or was made for another key, time or return."""
    query = "SELECT contract FROM store.contracts WHERE table_name = $1 ORDER BY prepared_at LIMIT 1"
    first = await connection.fetchval(query, contract.table)
    if first is None:
        await refuse_taken_name(connection, contract)
        return
    stands = Contract.stored(first)
    for name in FIXED:
        before, now = getattr(stands, name), getattr(contract, name)
        if before != now:
            raise ContractError(
                f"{contract.table} stands with {name}: {_shown(before)} and its contract now says "
                f"{_shown(now)}: give the table a new name, or the contract its {name} back"
            )


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else f"[{', '.join(value)}]"


async def _create(connection: Connection, contract: Contract) -> None:
    name, columns = contract.table, _definition(stored_columns(contract))
    table, time = stored_table(name), quoted(contract.time)
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {table} ({columns}, PRIMARY KEY ({listed(contract.key)})) "
        f"PARTITION BY RANGE ({time})"
    )
    # BRIN: batches grow with time, so a batch or an hour is a few neighbouring pages. One index, which can be
    # asked for either: a second one would be one more look for every row that is written.
    await connection.execute(
        f"CREATE INDEX IF NOT EXISTS {quoted(f'{name}_batch')} ON {table} USING brin (batch, {time})"
    )
    if has_history(contract):
        await _create_beside(connection, contract)


async def _create_beside(connection: Connection, contract: Contract) -> None:
    """The table's history, and the keys that are in quarantine."""
    name, columns, key = contract.table, stored_columns(contract), listed(contract.key)
    history = stored_table(f"{name}_history")
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {history} "
        f"({_definition(columns)}, replaced_by bigint NOT NULL, PRIMARY KEY ({key}, batch))"
    )
    await connection.execute(
        f"CREATE INDEX IF NOT EXISTS {quoted(f'{name}_history_batch')} ON {history} USING brin (batch)"
    )
    keys = _definition({column: columns[column] for column in contract.key})
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {stored_table(f'{name}_quarantine')} "
        f"({keys}, act bigint NOT NULL, PRIMARY KEY ({key}))"
    )


async def _extend(connection: Connection, contract: Contract) -> None:
    """Add the columns the contract has and the table has not; refuse one whose type changed."""
    name = contract.table
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute "
        "WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        stored_table(name),
    )
    standing = {row["attname"]: row["type"] for row in rows}
    tables = [name, f"{name}_history"] if has_history(contract) else [name]
    for column in contract.columns:
        wanted = POSTGRES_TYPES[column.type]
        there = standing.get(column.name)
        if there is None:
            for table in tables:
                await connection.execute(
                    f"ALTER TABLE {stored_table(table)} ADD COLUMN {quoted(column.name)} {wanted}"
                )
        elif there.replace("timestamp with time zone", "timestamptz") != wanted:
            raise ContractError(
                f"{name}.{column.name} is stored as {there} and the contract now says {wanted}: "
                "give the column a new name"
            )
    await _publish(connection, contract)


async def _publish(connection: Connection, contract: Contract) -> None:
    """The view people query; new columns come last, so that views built on it keep standing."""
    name = contract.table
    shown = await connection.fetchval(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        stored_table(name),
    )
    left_out = f" WHERE NOT {in_quarantine(contract)}" if has_history(contract) else ""
    query = f"SELECT {shown} FROM {stored_table(name)} s{left_out}"
    await connection.execute(f"CREATE OR REPLACE VIEW {published_view(name)} AS {query}")


def in_quarantine(contract: Contract) -> str:
    """The SQL condition that row `s` of the stored table is in quarantine."""
    apart = stored_table(f"{contract.table}_quarantine")
    return f"EXISTS (SELECT FROM {apart} q WHERE {same_key(contract.key, 'q', 's')})"


def same_key(key: Iterable[str], left: str, right: str) -> str:
    """The SQL condition that rows of two relations agree in these columns."""
    return " AND ".join(f"{column_of(left, name)} = {column_of(right, name)}" for name in key)


def _definition(columns: dict[str, str]) -> str:
    return ", ".join(f"{quoted(name)} {type_}" for name, type_ in columns.items())
