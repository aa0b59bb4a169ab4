"""Every `@materialize` on this Prefect server becomes lineage, whoever's flow it was.

`headwater serve` looks every other second for what is new, and now and then further back, for events that
reached the server late.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import unquote, urlsplit

import structlog
from prefect import get_client

from flows.process import lifecycle, stores
from flows.process.retry import without_end
from infra.http import translated as http_translated
from infra.postgres import Connection
from infra.settings import Settings
from lineage import naming
from lineage.prefect_assets import Names, capture
from tasks.tables.contracts import stored_contracts

log = structlog.get_logger(__name__)

PAUSE = 2.0  # seconds between two looks
OVERLAP = timedelta(minutes=1)  # how far back a look goes
LATE = timedelta(days=1)  # how far back the longer look goes
LATE_EVERY = timedelta(minutes=5)


async def capture_assets(settings: Settings, state: lifecycle.State) -> None:
    """Take asset events without end, waiting while Prefect or Postgres is away."""
    await without_end(partial(_capture, settings, state), what="assets")


async def _capture(settings: Settings, state: lifecycle.State) -> None:
    async with stores.open_connection(settings, "assets") as connection, get_client() as client:
        names, told = await our_names(connection, stores.postgres_dsn(settings)), _LeftOut()
        swept = datetime.now(UTC) - LATE_EVERY
        while True:
            now = datetime.now(UTC)
            late = now - swept >= LATE_EVERY
            with http_translated("Prefect"):
                back = LATE if late else OVERLAP
                taken = await capture(connection, client, back=back, names=names, left_out=told.once)
            swept = now if late else swept
            if taken:
                state.did("capture", assets=taken)
                log.info("assets captured", materializations=taken)
            await asyncio.sleep(PAUSE)


class _LeftOut:
    """Tells of each event that is left out once, though every look meets it again."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def once(self, event: str, reason: str) -> None:
        if event not in self._told:
            self._told.add(event)
            log.warning("an asset event was left out", asset_event=event, reason=reason)


async def our_names(connection: Connection, dsn: str) -> Names:
    """An asset that is a table of ours has our name for it, every other none.

    Ours are `postgres://HOST[:PORT]/DATABASE/[SCHEMA/]TABLE` with our host, port and database.
    """
    tables = (await stored_contracts(connection)).keys()
    database = _parts(dsn)
    places = [database, [*database, "public"], [*database, "store"]]

    def name(key: str) -> str | None:
        *place, table = _parts(key)
        ours = table in tables and place in places
        return naming.postgres(table) if ours else None

    return name


def _parts(url: str) -> list[str]:
    """The host with its port and the parts of the path of a Postgres URL; the whole of any other text."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:  # somebody else's key
        return [url]
    if parts.scheme not in ("postgres", "postgresql"):
        return [url]
    return [f"{parts.hostname}:{port}", *unquote(parts.path).strip("/").split("/")]
