"""Curated tables made from their contracts, partitioned by their time if they have one; a view for people.

A stored table is `store.NAME` and what people query is the view `public.NAME`. A table fed by messages also
gets `store.NAME_history`, its rows that were replaced, and `store.NAME_quarantine`, the keys of rows that the
view leaves out. Preparing a table again adds the columns that are new in its
contract and changes nothing else.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence

import polars as pl

from infra.migrate import LOCK
from infra.postgres import Connection, translated
from lineage.errors import ContractError
from lineage.identifiers import column_of, listed, published_view, quoted, stored_table
from lineage.stored import shown
from tasks.contract import Contract, OnReturn
from tasks.tables.rename import refuse_old_names, rename_columns
from tasks.tables.table_names import refuse_taken_name

LAYOUT = 3
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
"""What a row's hash covered after the columns of its contract, where its table has it."""

CARRIED: dict[str, pl.DataType] = {**HASHED_ORIGIN, "batch": pl.Int64()}
"""What stands in a row beside the columns of its contract; a digest covers all of it."""

FIXED = ("key", "time", "on_return", "partition_by", "bucket")
"""What a table is made for and keeps: another key would take rows of today for repetitions of before."""


def stored_columns(contract: Contract) -> dict[str, str]:
    """Every column of the stored table and its Postgres type, in order."""
    columns = {
        column.name: column.postgres_type + (" NOT NULL" if column.name in contract.key else "")
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


def digested_columns(contract: Contract) -> list[str]:
    """The columns that a digest of stored rows covers, in order: all that are stored."""
    return list(stored_columns(contract))


def carried(contract: Contract) -> pl.Schema:
    """The stored columns beside those of the contract, in order."""
    return pl.Schema({name: CARRIED[name] for name in stored_columns(contract) if name not in contract.names})


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
            query = "SELECT FROM store.contracts WHERE table_name = $1 AND hash = $2"
            known = await connection.fetchrow(query, contract.table, digest) is not None
            await refuse_old_names(connection, contract, known=known)
            if known:
                return
            await _refuse_another_kind(connection, contract)
            await rename_columns(connection, contract, _beside(contract))
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
        before, now = _fixed(stands, name), _fixed(contract, name)
        if before != now:
            raise ContractError(
                f"{contract.table} stands with {name}: {_shown(before)} and its contract now says "
                f"{_shown(now)}: give the table a new name, or the contract its {name} back"
            )


def _fixed(contract: Contract, name: str) -> str | tuple[str, ...] | None:
    value: str | tuple[str, ...] | None = contract.made_by if name == "bucket" else getattr(contract, name)
    return value


def _shown(value: str | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return value or "none"


async def _create(connection: Connection, contract: Contract) -> None:
    name, columns = contract.table, _definition(stored_columns(contract))
    # BRIN: batches grow with time, so a batch or a time is a few neighbouring pages. One index, which can be
    # asked for either: a second one would be one more look for every row that is written. The rows of a
    # reference table are replaced wherever they stand, and its last batch is asked for again and again.
    parts, index = "", "btree (batch)"
    if not contract.is_reference:
        time = quoted(contract.time_column)
        parts, index = f" PARTITION BY RANGE ({time})", f"brin (batch, {time})"
    table = stored_table(name)
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {table} ({columns}, PRIMARY KEY ({listed(contract.key)})){parts}"
    )
    await connection.execute(f"CREATE INDEX IF NOT EXISTS {quoted(f'{name}_batch')} ON {table} USING {index}")
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
    if contract.is_reference:  # which row was replaced last: asked for as its last batch is
        await connection.execute(
            f"CREATE INDEX IF NOT EXISTS {quoted(f'{name}_history_until')} ON {history} (replaced_by)"
        )
    keys = _definition({column: columns[column] for column in contract.key})
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {stored_table(f'{name}_quarantine')} "
        f"({keys}, act bigint NOT NULL, PRIMARY KEY ({key}))"
    )


def _beside(contract: Contract) -> Sequence[str]:
    """The tables that have the contract's columns too."""
    return (f"{contract.table}_history",) if has_history(contract) else ()


async def _extend(connection: Connection, contract: Contract) -> None:
    """Add the columns the contract has and the table has not; refuse one whose type changed."""
    name = contract.table
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
        "WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        stored_table(name),
    )
    standing = {row["attname"]: row["type"] for row in rows}
    tables = [name, *_beside(contract)]
    for column in contract.columns:
        wanted = column.postgres_type
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
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute "
        "WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        stored_table(name),
    )
    left_out = f" WHERE NOT {in_quarantine(contract)}" if has_history(contract) else ""
    query = f"SELECT {shown(row['attname'] for row in rows)} FROM {stored_table(name)} s{left_out}"
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
