"""One listener per slot: two with one client id would take the session from each other without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from flows.process import stores
from flows.process.retry import without_end
from infra.postgres_lock import PostgresLock
from infra.settings import Settings
from lineage.errors import SettingsError

KIND: Final = 0x48_4C  # "HL"
TRIES, PAUSE = 25, 0.2  # s; Postgres takes a moment to see that a listener was killed
LOOK_EVERY: Final = 1.0  # seconds


@asynccontextmanager
async def slot(settings: Settings, client_id: str, stop: asyncio.Event) -> AsyncIterator[None]:
    """Have a client id alone while the block runs; raises SettingsError when another listener has it.

    One that took it while Postgres was away sets `stop`, so that we end in good order, and then raises.
    """
    lock = PostgresLock(stores.postgres_dsn(settings), KIND, client_id)
    await _hold(lock, settings.slot, client_id)
    keeping = asyncio.create_task(_keep(lock, settings.slot, client_id, stop))
    try:
        yield
    finally:
        lost = keeping.done()
        keeping.cancel()
        lock.release()
    if lost:
        keeping.result()


async def _hold(lock: PostgresLock, number: int, client_id: str) -> None:
    for _ in range(TRIES):
        if await without_end(lock.hold, what="slot"):
            return
        await asyncio.sleep(PAUSE)
    raise SettingsError(
        f"Slot {number} is taken: a listener with the client id {client_id} runs. "
        "Give this one a HEADWATER_SLOT of its own, or end that one first."
    )


async def _keep(lock: PostgresLock, number: int, client_id: str, stop: asyncio.Event) -> None:
    try:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await _hold(lock, number, client_id)
    except SettingsError:
        stop.set()
        raise
