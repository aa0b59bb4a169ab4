"""The contracts that tables were prepared by, as Postgres keeps them."""

from collections.abc import Mapping, Sequence

from infra.postgres import translated
from lineage.ports import Connection
from tasks.contract import Contract
from tasks.load.rename import under_todays_names

_STORED = """
SELECT table_name, contract FROM store.contracts ORDER BY table_name, prepared_at
"""


async def stored_contracts(connection: Connection) -> Mapping[str, Sequence[Contract]]:
    """Every table that was ever prepared, with all versions of its contract, the newest first.

    A column has the name it has by now, whatever it was called then.
    """
    with translated():
        rows = await connection.fetch(_STORED)
    versions: dict[str, list[Contract]] = {}
    for row in rows:
        contract = Contract.stored(row["contract"])
        versions.setdefault(row["table_name"], []).append(contract)
    return {table: _newest_first(prepared) for table, prepared in versions.items()}


def _newest_first(prepared: Sequence[Contract]) -> Sequence[Contract]:
    last_first = under_todays_names(prepared)[::-1]
    return sorted(last_first, key=lambda each: -each.version)
