"""Keeps every curated table ready for the days to come."""

from datetime import datetime

from flows.catalog import Catalog
from flows.process import stores
from infra.settings import Settings

NAME = "partitions"


async def extend(settings: Settings, catalog: Catalog, now: datetime) -> list[str]:
    """Prepare every contract's table and its partitions ahead of `now`; returns the tables that are ready."""
    ready = await stores.prepare_each(settings, catalog.contracts.values())
    async with stores.open_store(settings, NAME) as store:
        for contract in ready:
            await store.partitions.ensure_ahead(contract, now)
    return [contract.table for contract in ready]
