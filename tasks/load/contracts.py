"""The contracts that tables were prepared by, as Postgres keeps them."""

from collections.abc import Mapping, Sequence

from infra.postgres import translated
from lineage.ports import Connection
from tasks.contract import Contract

_STORED = """
SELECT table_name, contract FROM store.contracts ORDER BY table_name, version DESC, prepared_at DESC
"""


async def stored_contracts(connection: Connection) -> Mapping[str, Sequence[Contract]]:
    """Every table that was ever prepared, with all versions of its contract, the newest first."""
    with translated():
        rows = await connection.fetch(_STORED)
    versions: dict[str, list[Contract]] = {}
    for row in rows:
        contract = Contract.stored(row["contract"])
        versions.setdefault(row["table_name"], []).append(contract)
    return versions
