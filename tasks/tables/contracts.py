"""The contracts that tables were prepared by, as Postgres keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.postgres import translated
from lineage.errors import ContractError
from lineage.ports import Connection
from tasks.contract import Contract
from tasks.tables.rename import under_todays_names

_STORED = """
SELECT table_name, contract FROM store.contracts ORDER BY table_name, prepared_at
"""


@dataclass(frozen=True, slots=True)
class Version:
    """A contract with the names that its columns have by now, and those that they had in it."""

    contract: Contract
    names: tuple[str, ...]


async def stored_contracts(connection: Connection) -> Mapping[str, Sequence[Contract]]:
    """Every table that was ever prepared, with all versions of its contract, the newest first.

    A column has the name it has by now, whatever it was called then. Raises ContractError when one cannot be
    read any more: somebody changed it.
    """
    versions, unreadable = await readable_contracts(connection)
    if unreadable:
        raise ContractError(
            f"the contract of {', '.join(unreadable)} in store.contracts cannot be read any more: "
            "`headwater prove` tells what else was changed"
        )
    return {table: [version.contract for version in each] for table, each in versions.items()}


async def readable_contracts(
    connection: Connection,
) -> tuple[Mapping[str, Sequence[Version]], Sequence[str]]:
    """The same of those that can be read, with the names of then, and the tables of those that cannot."""
    with translated():
        rows = await connection.fetch(_STORED)
    prepared: dict[str, list[Contract]] = {}
    unreadable: dict[str, None] = {}
    for row in rows:
        try:
            contract = Contract.stored(row["contract"])
        except (ValueError, ContractError):  # pydantic's is one too
            unreadable[str(row["table_name"])] = None
        else:
            prepared.setdefault(row["table_name"], []).append(contract)
    return {table: _newest_first(each) for table, each in prepared.items()}, list(unreadable)


def _newest_first(prepared: Sequence[Contract]) -> Sequence[Version]:
    pairs = zip(under_todays_names(prepared), prepared, strict=True)
    versions = [Version(contract, written.names) for contract, written in pairs]
    versions.reverse()  # of one version the one that was prepared last comes first
    return sorted(versions, key=lambda version: -version.contract.version)
