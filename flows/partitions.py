"""Keeps every curated table ready for the days to come."""

from datetime import datetime

from flows import stores
from flows.catalog import all_contracts
from infra.settings import Settings

NAME = "partitions"


async def extend(settings: Settings, now: datetime) -> list[str]:
    """Prepare every contract's table and its partitions ahead of `now`; returns the tables that are ready."""
    ready = await stores.prepare_each(settings, all_contracts())
    async with stores.open_store(settings, NAME) as store:
        for contract in ready:
            await store.partitions.ensure_ahead(contract, now)
    return [contract.table for contract in ready]
