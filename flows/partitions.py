"""Keeps every curated table ready for the days to come."""

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from infra.endpoints import resolve_postgres
from infra.local.registry import endpoints
from infra.migrate import migrate
from infra.postgres import connect, open_pool
from infra.settings import load
from tasks.contract import load_contract
from tasks.load.partitions import Partitions
from tasks.load.tables import prepare_table

CONTRACTS = Path(__file__).parents[1] / "tasks" / "contracts"


@flow(name="extend-partitions")
async def extend_partitions() -> list[str]:
    """Prepare every contract's table and its partitions ahead; returns the tables."""
    settings = load()
    dsn = resolve_postgres(settings, endpoints(settings.home)).dsn.get_secret_value()
    return await extend(dsn, datetime.now(UTC))


async def extend(dsn: str, now: datetime) -> list[str]:
    """The same as a plain function: `now` decides how far ahead."""
    contracts = [load_contract(path) for path in sorted(CONTRACTS.glob("*.yaml"))]
    connection = await connect(dsn, application="extend-partitions")
    try:
        await migrate(connection)
        for contract in contracts:
            await prepare_table(connection, contract)
    finally:
        await connection.close()
    async with open_pool(dsn, application="extend-partitions") as pool:
        partitions = Partitions(pool)
        for contract in contracts:
            await partitions.ensure_ahead(contract, now)
    return [contract.table for contract in contracts]
