"""Erasing messages, from the settings to what was erased."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

from flows.process import stores
from infra.settings import Settings
from lineage.model import Run
from tasks.again.erase import ErasedMessage, Erasure, erase


async def erased(
    settings: Settings, batch: int, sequences: Sequence[int], *, reason: str, by_whom: str, apply: bool
) -> tuple[ErasedMessage, ...]:
    """Erase these messages of a raw batch, or tell which would be."""
    erasure = Erasure(
        batch=batch,
        sequences=sequences,
        reason=reason,
        by_whom=by_whom,
        run=Run(id=uuid4(), kind="command", name="erase", started_at=datetime.now(UTC)),
    )
    await stores.prepare_tables(settings, ())
    async with stores.open_store(settings, "erase") as store, store.work() as session:
        return await erase(session.connection, erasure, dry_run=not apply)
