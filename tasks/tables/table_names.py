"""Whether a name is free: a table that is made over something else's name would not be the contract's."""

from infra.postgres import Connection
from lineage import query_files
from lineage.errors import ContractError
from tasks.contract import Contract

_TAKEN = query_files.read(__package__, "taken_name.sql")


async def refuse_taken_name(connection: Connection, contract: Contract) -> None:
    """Raise ContractError where something stands under a name that the contract's first table would take."""
    name = contract.table
    made = [name, *(f"{name}_{part}" for part in ("history", "quarantine", "batch", "history_batch"))]
    found = await connection.fetchval(_TAKEN, made, f"^{name}_[0-9]{{8}}$", name)
    if found is not None:
        raise ContractError(
            f"The table {name} cannot be made: {found} is there already, of something else. "
            "Give the contract's table another name."
        )
