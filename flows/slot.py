"""One listener per slot: two with one client id would take the session from each other without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from flows import stores
from flows.retry import without_end
from infra.postgres_lock import PostgresLock
from infra.settings import Settings
from lineage.errors import SettingsError

KIND: Final = 0x48_4C  # "HL"
TRIES, PAUSE = 25, 0.2  # s; Postgres takes a moment to see that a listener was killed
LOOK_EVERY: Final = 1.0  # seconds


@asynccontextmanager
async def slot(settings: Settings, stop: asyncio.Event) -> AsyncIterator[None]:
    """Have the slot of the settings while the block runs; raises SettingsError when another listener has it.

    One that took it while Postgres was away sets `stop`, so that we end in good order, and then raises.
    """
    lock = PostgresLock(stores.postgres_dsn(settings), KIND, settings.listener_id)
    await _hold(lock, settings)
    keeping = asyncio.create_task(_keep(lock, settings, stop))
    try:
        yield
    finally:
        lost = keeping.done()
        keeping.cancel()
        lock.release()
    if lost:
        keeping.result()


async def _hold(lock: PostgresLock, settings: Settings) -> None:
    for _ in range(TRIES):
        if await without_end(lock.hold, what="slot"):
            return
        await asyncio.sleep(PAUSE)
    raise SettingsError(
        f"Slot {settings.slot} is taken: a listener with the client id {settings.listener_id} runs. "
        "Give this one a HEADWATER_SLOT of its own, or end that one first."
    )


async def _keep(lock: PostgresLock, settings: Settings, stop: asyncio.Event) -> None:
    try:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await _hold(lock, settings)
    except SettingsError:
        stop.set()
        raise
