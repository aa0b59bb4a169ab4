"""Rejected records as people look at them, from the settings to the answer."""

from flows import stores
from infra.settings import Settings
from tasks.load.rejected_queries import Listed, Shown, Which, list_rejected, show_rejected


async def listed(settings: Settings, which: Which, limit: int) -> Listed:
    """Chosen records, the newest first, and how many there are."""
    async with stores.open_store(settings, "rejected") as store:
        return await list_rejected(store.pool, which, limit)


async def shown(settings: Settings, prefix: str) -> Shown:
    """The one record whose identity begins so, with its bytes."""
    async with stores.open_store(settings, "rejected") as store:
        return await show_rejected(store.pool, prefix)
