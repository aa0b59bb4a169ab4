"""Reference tables as steps look values up in them: which state they are in, and the rows of any state.

A state is named by the number of the last commit that changed the table. Commits to a reference table are
numbered in the order in which they are committed (`numbered_in_order`), and what they replace goes to the
history; so the rows of a state can be read at any later time.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import polars as pl

from infra.postgres import Pool, translated
from lineage import query_files
from lineage.errors import QueryError
from lineage.identifiers import listed, stored_table
from lineage.ports import Connection
from lineage.stored import TableShape, chunks, key_text
from tasks.batch import ReferenceState
from tasks.contract import Contract

MOST_ROWS: Final = 1_000_000
MOST_BYTES: Final = 200_000_000
"""Of a reference table in memory; each process that looks values up in it holds it once for each pipeline."""

_LAST = query_files.read(__package__, "last_state.sql")
# What stood once batch $1 was committed, without the keys that were in quarantine then.
_STATE = query_files.read(__package__, "rows_of_state.sql")


class TooLargeError(QueryError):
    """A reference table does not fit into memory as it is meant to; nothing is looked up in a part of it."""


@asynccontextmanager
async def numbered_in_order(connection: Connection, contracts: Iterable[Contract]) -> AsyncIterator[None]:
    """No other commit to these contracts' reference tables is numbered until this one has ended.

    A failure cuts the connection, and frees the locks.
    """
    names = sorted(f"numbered {contract.table}" for contract in contracts if contract.is_reference)
    for name in names:
        await connection.execute("SELECT pg_advisory_lock(hashtext($1))", name)
    yield
    for name in names:
        await connection.execute("SELECT pg_advisory_unlock(hashtext($1))", name)


async def last_batch(connection: Connection, contract: Contract) -> int:
    """The number of the last commit that changed the table; 0: none did."""
    number: int = await connection.fetchval(_LAST.format(**_names(contract)), contract.table)
    return number


def batch_of(said: str) -> int:
    """The batch of a state's name (`ReferenceState.said`)."""
    return int(said.removeprefix("batch "))


async def state_of(connection: Connection, contract: Contract, batch: int) -> ReferenceState:
    """The table once that batch was committed; in a transaction. Raises TooLargeError."""
    shape = TableShape(
        name=contract.table,
        columns=dict(contract.row_schema),
        key=contract.key,
        time=contract.time,
        kind=contract.on_return.value,
    )
    query = _STATE.format(columns=listed(contract.names), key_text=key_text(shape), **_names(contract))
    parts = [contract.row_schema.to_frame()]
    rows, size = 0, 0.0
    async for chunk in chunks(connection, query, batch, contract.table):
        part = pl.DataFrame([tuple(row) for row in chunk], schema=contract.row_schema, orient="row")
        parts.append(part)
        rows, size = rows + part.height, size + part.estimated_size()
        if rows > MOST_ROWS or size > MOST_BYTES:
            raise TooLargeError(
                f"The reference table {contract.table} has more than {MOST_ROWS:,} rows or "
                f"{MOST_BYTES // 1_000_000} MB, too many to be kept in memory: look up in a table that holds "
                "fewer columns or rows."
            )
    return ReferenceState(batch, pl.concat(parts, rechunk=True))


def _names(contract: Contract) -> Mapping[str, str]:
    history = stored_table(f"{contract.table}_history")
    return {"table": stored_table(contract.table), "table_history": history}


class ReferenceTables:
    """The reference tables that a pipeline looks values up in, each read again once it has changed."""

    def __init__(self, contracts: Iterable[Contract]) -> None:
        self._contracts = tuple(contracts)
        self._states: Mapping[str, ReferenceState] = {}

    def __bool__(self) -> bool:
        return bool(self._contracts)

    async def current(self, pool: Pool) -> Mapping[str, ReferenceState]:
        """All that is committed by now; the same mapping as before where nothing changed.

        Raises UnavailableError, TooLargeError.
        """
        with translated():
            async with (
                pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                for contract in self._contracts:
                    batch, known = await last_batch(connection, contract), self._states.get(contract.table)
                    if known is None or known.batch != batch:
                        state = await state_of(connection, contract, batch)
                        self._states = {**self._states, contract.table: state}
        return self._states
