"""Rejected records as people look at them and give them up, from the settings to the answer."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from uuid import uuid4

from flows.process import stores
from infra import key_file
from infra.settings import Settings
from lineage.model import Run
from tasks.again.drop import Dropped
from tasks.again.drop import drop as drop_records
from tasks.again.quarantine import Act
from tasks.look.rejected_queries import Listed, Shown, Which, list_rejected, show_rejected


async def ls(settings: Settings, which: Which, limit: int) -> Listed:
    """Chosen records, the newest first, and how many there are."""
    async with stores.open_store(settings, "rejected") as store:
        return await list_rejected(store.pool, which, limit)


async def show(settings: Settings, prefix: str) -> Shown:
    """The one record whose identity begins so, with its bytes."""
    async with stores.open_store(settings, "rejected") as store:
        return await show_rejected(store.pool, prefix)


async def drop(settings: Settings, which: Which, *, reason: str, by_whom: str, apply: bool) -> Dropped:
    """Drop what is chosen, or tell what would be dropped."""
    act = Act(
        kind="drop",
        selection=json.dumps(asdict(which), default=str),
        reason=reason,
        by_whom=by_whom,
        run=Run(id=uuid4(), kind="command", name="rejected drop", started_at=datetime.now(UTC)),
    )
    await stores.prepare_tables(settings, ())
    async with stores.open_connection(settings, "rejected drop") as connection:
        keys = key_file.read(settings.digest_keys)
        return await drop_records(connection, which, act, keys, dry_run=not apply)
