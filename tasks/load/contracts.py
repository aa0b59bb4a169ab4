"""The contracts that tables were prepared by, as Postgres keeps them."""

from collections.abc import Mapping, Sequence

from infra.postgres import translated
from lineage.errors import ContractError
from lineage.ports import Connection
from tasks.contract import Contract

_STORED = """
SELECT table_name, contract FROM store.contracts ORDER BY table_name, version DESC, prepared_at DESC
"""


async def stored_contracts(connection: Connection) -> Mapping[str, Sequence[Contract]]:
    """Every table that was ever prepared, with all versions of its contract, the newest first.

    Raises ContractError when one cannot be read any more: somebody changed it.
    """
    contracts, unreadable = await readable_contracts(connection)
    if unreadable:
        raise ContractError(
            f"the contract of {', '.join(unreadable)} in store.contracts cannot be read any more: "
            "`headwater prove` tells what else was changed"
        )
    return contracts


async def readable_contracts(
    connection: Connection,
) -> tuple[Mapping[str, Sequence[Contract]], Sequence[str]]:
    """The same of those that can be read, and the tables of those that cannot."""
    with translated():
        rows = await connection.fetch(_STORED)
    versions: dict[str, list[Contract]] = {}
    unreadable: dict[str, None] = {}
    for row in rows:
        try:
            contract = Contract.stored(row["contract"])
        except (ValueError, ContractError):  # pydantic's is one too
            unreadable[str(row["table_name"])] = None
        else:
            versions.setdefault(row["table_name"], []).append(contract)
    return versions, list(unreadable)
