"""What `headwater rejected` and `headwater devices` do, from the settings to the answer."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import polars as pl

from flows.replay import CONTRACTS, replay_all
from infra.endpoints import resolve_postgres
from infra.local.registry import endpoints
from infra.postgres import Pool, open_pool
from infra.settings import Settings
from tasks.contract import load_contract
from tasks.load.devices import load_devices, read_devices
from tasks.load.rejected_queries import Listed, Shown, Which, list_rejected, origins, show_rejected
from tasks.load.store import Store
from tasks.load.tables import prepare_table

APPLICATION = "rejected replay"


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[str, Pool]]:
    """The store's DSN and a pool; raises SettingsError when it is neither set nor running."""
    dsn = resolve_postgres(settings, endpoints(settings.home)).dsn.get_secret_value()
    timeout = int(settings.statement_timeout.total_seconds() * 1000)
    async with open_pool(dsn, application="console", statement_timeout_ms=timeout) as pool:
        yield dsn, pool


async def listed(settings: Settings, which: Which, limit: int) -> Listed:
    async with opened(settings) as (_, pool):
        return await list_rejected(pool, which, limit)


async def shown(settings: Settings, prefix: str) -> Shown:
    async with opened(settings) as (_, pool):
        return await show_rejected(pool, prefix)


async def replayed(
    settings: Settings, which: Which, *, dry_run: bool, tell: Callable[[int, int], None]
) -> dict[str, int]:
    """Replay what is chosen; returns how many records were read, accepted, rejected …, over all batches.

    `unchanged`: chosen records that were not judged again.
    """
    async with opened(settings) as (dsn, pool):
        await _prepare(pool)
        found = await origins(pool, which)
        total = Counter(batches=0, read=0, accepted=0, rejected=0, duplicates=0, unchanged=0)
        async with Store(dsn, pool, application=APPLICATION) as store:
            done = 0
            async for one in replay_all(store, pool, found, dry_run=dry_run):
                done += 1
                tell(done, len(found))
                if one.receipt is None:
                    total["unchanged"] += len(one.origin.identities)
                    continue
                receipt = one.receipt
                total.update(
                    batches=1,
                    read=receipt.read,
                    accepted=sum(receipt.accepted.values()),
                    rejected=receipt.rejected,
                    duplicates=receipt.duplicates,
                )
        return dict(total)


async def _prepare(pool: Pool) -> None:
    """Today's contracts may have columns that the tables have not."""
    async with pool.acquire() as connection:
        for path in sorted(CONTRACTS.glob("*.yaml")):
            await prepare_table(connection, load_contract(path))


async def register(settings: Settings, devices: pl.DataFrame) -> int:
    """Put devices into the register; returns how many were new or changed."""
    async with opened(settings) as (_, pool):
        return await load_devices(pool, devices)


async def registered(settings: Settings) -> pl.DataFrame:
    """The device register, by device."""
    async with opened(settings) as (_, pool):
        return await read_devices(pool)
