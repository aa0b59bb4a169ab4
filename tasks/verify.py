"""The verify step, and what a proof needs to know of our tables: their shapes, from their contracts."""

from collections.abc import Iterable, Mapping

from infra.postgres import Pool, translated
from lineage.ports import Connection
from lineage.proof.batches import verify_batch
from lineage.stored import TableShape
from tasks.batch import Receipt
from tasks.contract import Contract
from tasks.load.contracts import readable_contracts
from tasks.load.tables import hashed_origin


def shape_of(contract: Contract, earlier: Iterable[Contract] = ()) -> TableShape:
    """A contract's table; `earlier` are the versions it had before, newest first."""
    columns = dict(contract.row_schema)
    before = {tuple(version.names): dict(version.row_schema) for version in earlier}
    before.pop(contract.names, None)
    return TableShape(
        name=contract.table,
        columns=columns,
        origin=dict(hashed_origin(contract)),
        key=contract.key,
        time=contract.time,
        kind=contract.on_return.value,
        earlier=tuple(before.values()),
    )


async def stored_shapes(connection: Connection) -> Mapping[str, TableShape]:
    """Every table that was ever prepared, with all versions of its contract, from what Postgres keeps.

    One that cannot be read any more is left out: a proof tells so.
    """
    versions, _ = await readable_contracts(connection)
    return {name: shape_of(newest, earlier) for name, (newest, *earlier) in versions.items()}


async def verify(pool: Pool, receipt: Receipt) -> None:
    """Compare what a commit says with what is stored and recorded of it; raises VerificationError."""
    with translated():
        async with pool.acquire() as connection:
            await verify_batch(connection, receipt.batch, await stored_shapes(connection))
