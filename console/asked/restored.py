"""Accepting a restored backup: what is lost is told, and the act stands in the log and among the anchors."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from flows.process import stores
from infra import anchors
from infra.settings import Settings
from lineage import lost, relay, restores, seal
from lineage.errors import RejectedError, UnavailableError
from lineage.lost import Lost
from lineage.model import Run
from lineage.ports import Connection
from lineage.restores import Gap, Restore

log = structlog.get_logger(__name__)

_SEALED_AT = "SELECT sealed_at FROM store.lineage_seals WHERE seal = $1"
_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What is gone, and what was written down; `graph`: whether the graph could be asked what it knew."""

    gap: Gap
    known: Sequence[Lost]
    graph: bool
    act: int | None = None  # None: only told


async def restored(settings: Settings, *, reason: str, by_whom: str) -> Accepted:
    """Tell what the anchors vouch for and is gone; with a reason, accept it.

    Killed between the log and the anchors, do it again: the line is added to the act that stands.
    Raises RejectedError when nothing is gone that the anchors know of.
    """
    await stores.prepare_tables(settings, ())
    async with stores.open_connection(settings, "restored") as connection:
        store = await seal.identity(connection)
        gap = await restores.gap(connection, anchors.read(settings.anchors, store))
        if gap is None:
            raise RejectedError("Every seal that is anchored stands: there is nothing to accept.")
        if await relay.is_busy(connection):
            log.info("waiting for the relay, which makes the graph anew", progress="headwater status")
        asked = await _ask_graph(settings, connection)
        since = await connection.fetchval(_SEALED_AT, gap.kept) or _BEFORE_ALL
        found = Accepted(gap=gap, known=await lost.by_dataset(connection, since), graph=asked)
        if not reason:
            return found
        restore = await _accept(connection, gap, reason, by_whom)
        anchors.append_restore(settings.anchors, store, restore)
        return Accepted(gap=gap, known=found.known, graph=asked, act=restore.act)


async def _ask_graph(settings: Settings, connection: Connection) -> bool:
    """Write down what the graph alone knows, unless the relay has done so and made it again."""
    try:
        async with stores.open_graph(settings) as graph, relay.relay_lock(connection):
            await relay.keep_what_was_lost(connection, graph)
    except (UnavailableError, RejectedError):
        return False
    return True


async def _accept(connection: Connection, gap: Gap, reason: str, by_whom: str) -> Restore:
    now = datetime.now(UTC)
    said = {act: what for act, what in (await restores.acts(connection)).items() if what[0] == gap}
    if said:  # the line was never written: it says what the act says
        act, (_, reason, by_whom) = max(said.items())
    else:
        run = Run(id=uuid4(), kind="command", name="restored", started_at=now)
        act = await restores.accept(connection, gap, reason=reason, by_whom=by_whom, run=run)
    await relay.seal_all(connection)
    newest = await seal.newest(connection)
    assert newest is not None  # noqa: S101 - the act is sealed
    at = now.isoformat(timespec="seconds")
    return Restore(
        gap=gap, seal=newest.seal, hash=newest.hash, act=act, reason=reason, by_whom=by_whom, at=at
    )
