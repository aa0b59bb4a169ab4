"""The verify step, and what a proof needs to know of our tables: their shapes, from their contracts."""

from collections.abc import Mapping, Sequence

from infra.postgres import Pool, translated
from lineage.keys import KeyRing
from lineage.ports import Connection
from lineage.proof.batches import verify_batch
from lineage.row_digest import columns_id
from lineage.stored import Digested, TableShape
from tasks.batch import Receipt
from tasks.contract import Contract
from tasks.tables.contracts import Version, readable_contracts
from tasks.tables.tables import carried, hashed_origin


def shape_of(contract: Contract, versions: Sequence[Version] = ()) -> TableShape:
    """A contract's table; `versions` are all that it ever had, newest first."""
    columns = dict(contract.row_schema)
    before = {tuple(each.contract.names): dict(each.contract.row_schema) for each in versions}
    before.pop(contract.names, None)
    return TableShape(
        name=contract.table,
        columns=columns,
        origin=dict(hashed_origin(contract)),
        key=contract.key,
        time=contract.time,
        kind=contract.on_return.value,
        bucket=contract.made_by,
        earlier=tuple(before.values()),
        digested=dict(map(_digested, versions)),
    )


def _digested(version: Version) -> tuple[str, Digested]:
    """What digests under a version of the contract cover, by its name in the ledger."""
    rows_carry = carried(version.contract)
    names = [*version.names, *rows_carry]
    return columns_id(names), Digested(names, {**version.contract.row_schema, **rows_carry})


async def stored_shapes(connection: Connection) -> Mapping[str, TableShape]:
    """Every table that was ever prepared, with all versions of its contract, from what Postgres keeps.

    One that cannot be read any more is left out: a proof tells so.
    """
    versions, _ = await readable_contracts(connection)
    return {name: shape_of(each[0].contract, each) for name, each in versions.items()}


async def verify(pool: Pool, receipt: Receipt, keys: KeyRing) -> None:
    """Compare what a commit says with what is stored and recorded of it; raises VerificationError."""
    with translated():
        async with pool.acquire() as connection:
            await verify_batch(connection, receipt.batch, await stored_shapes(connection), keys)
