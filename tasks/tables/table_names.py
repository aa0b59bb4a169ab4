"""Whether a name is free: a table that is made over something else's name would not be the contract's."""

from infra.postgres import Connection
from lineage.errors import ContractError
from tasks.contract import Contract

_TAKEN = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname = 'store' AND (c.relname = ANY($1::text[]) OR c.relname ~ $2))
   OR (n.nspname = 'public' AND c.relname = $3)
ORDER BY 1 LIMIT 1
"""


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
