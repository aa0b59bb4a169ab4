"""Columns that a contract calls otherwise than before: `was: humidity` at a column of it.

The stored column itself is renamed, in the table, its history and its view, in the transaction that prepares
the table. A row's hash is made of its values in order, not of their names, so rows from before prove as they
are. A process that still has the old contract writes a column that is not there: Postgres refuses it, and so
does this module when that process starts again. Nobody makes the old column anew by mistake.
"""

from collections.abc import Mapping, Sequence

from lineage.errors import ContractError
from lineage.identifiers import published_view, quoted, stored_table
from lineage.ports import Connection
from tasks.contract import Contract

# The columns of a stored table, in order.
_STANDING = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""
# What contracts of a table called otherwise, the oldest first.
_RENAMED = """
SELECT c ->> 'name' AS name, c ->> 'was' AS was
FROM store.contracts, json_array_elements(contract -> 'columns') AS c
WHERE table_name = $1 AND c ->> 'was' IS NOT NULL ORDER BY prepared_at
"""


async def standing_columns(connection: Connection, table: str) -> Sequence[str]:
    """Every column of `store.TABLE`, those that left its contract too; none if it does not stand."""
    return [row["attname"] for row in await connection.fetch(_STANDING, stored_table(table))]


async def refuse_old_names(connection: Connection, contract: Contract, *, known: bool) -> None:
    """Raise ContractError where a column of the contract has another name by now.

    `known`: it was prepared before, so what it says of names is what was said then.
    """
    away: dict[str, str] = {}
    for row in await connection.fetch(_RENAMED, contract.table):
        away[row["was"]] = row["name"]
        away.pop(row["name"], None)
    for column in contract.columns:
        name = away.get(column.name)
        if name is not None and (known or column.was != name):
            raise ContractError(
                f"{contract.table}.{column.name} is called {name} by now: take the newer contract, or say "
                f"`was: {name}` at {column.name} in a contract that calls it so again"
            )


async def rename_columns(connection: Connection, contract: Contract, beside: Sequence[str]) -> None:
    """Rename what the contract calls otherwise, in the table, the tables `beside` it and the view."""
    for column in contract.columns:
        there = await standing_columns(connection, contract.table)
        if column.was is None or column.was not in there:
            continue
        if column.name in there:
            raise ContractError(
                f"{contract.table} holds both {column.was} and {column.name}: leave `was` out, they are two"
            )
        renamed = f"RENAME COLUMN {quoted(column.was)} TO {quoted(column.name)}"
        for table in (contract.table, *beside):
            await connection.execute(f"ALTER TABLE {stored_table(table)} {renamed}")
        await connection.execute(f"ALTER VIEW IF EXISTS {published_view(contract.table)} {renamed}")


def under_todays_names(prepared: Sequence[Contract]) -> list[Contract]:
    """Contracts of one table in the order they were prepared, with the names their columns have by now."""
    found = []
    for number, contract in enumerate(prepared):
        names = {name: name for name in contract.names}
        for later in prepared[number + 1 :]:
            renamed = {column.was: column.name for column in later.columns if column.was}
            names = {first: renamed.get(now, now) for first, now in names.items()}
        found.append(_with_names(contract, names))
    return found


def _with_names(contract: Contract, names: Mapping[str, str]) -> Contract:
    columns = tuple(column.model_copy(update={"name": names[column.name]}) for column in contract.columns)
    return contract.model_copy(update={"columns": columns})
