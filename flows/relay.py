"""The relay as a process: carries what is committed to the graph until it is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog
from prometheus_client import CollectorRegistry

from flows.catalog import Catalog
from flows.process import lifecycle, stores
from flows.process.limits import waiting_of
from flows.process.retry import without_end
from infra import anchors
from infra.metrics import Metrics
from infra.postgres import Connection
from infra.settings import Settings
from lineage import graph as graphs
from lineage import relay as log_relay
from lineage import seal
from lineage.ports import Graph
from tasks.look.status import open_rejected

log = structlog.get_logger(__name__)

PAUSE = 0.1  # seconds, when nothing waits: what is committed meanwhile is carried together
LAG_EVERY = 1.0  # seconds, as all below; by a clock that does not jump
REJECTED_EVERY = 15.0
END_WRITERS_EVERY = 15.0
ANCHOR_EVERY = 60.0


async def relay(settings: Settings, catalog: Catalog) -> None:
    """Carry the lineage log to the graph until SIGTERM or SIGINT; wait while either is away."""
    metrics = Metrics(CollectorRegistry())
    state = lifecycle.State()
    with lifecycle.stop_signal() as stop, lifecycle.observed(settings, state.health):
        state.facts = lifecycle.left_out(catalog.broken)
        stores.postgres_dsn(settings)  # nothing is waited for that is neither set nor running at the start
        work = without_end(lambda: _connect_and_carry(settings, catalog, metrics, state), what="relay")
        await lifecycle.unless(stop, work)


async def _connect_and_carry(
    settings: Settings, catalog: Catalog, metrics: Metrics, state: lifecycle.State
) -> None:
    """Look where Postgres and the graph are now, and carry; raises UnavailableError when one is away."""
    state.running("connecting")
    async with stores.open_graph(settings) as graph, stores.open_connection(settings, "relay") as connection:
        await graphs.migrate(graph)
        await _drop_what_was_lost(connection, graph)
        if not await log_relay.resume(connection, graph):
            log.warning("the graph is another one, or was emptied: carrying the whole record again")
        state.running("carrying")
        await _carry_on(settings, catalog, connection, graph, metrics, state)


async def _drop_what_was_lost(connection: Connection, graph: Graph) -> None:
    batches = await log_relay.drop_what_was_lost(connection, graph)
    if batches is not None:
        log.warning(
            "the graph knew seals that the record does not have: a backup was restored, or its end was cut "
            "off. The lost ones are in lost_batches; the graph is made again. `headwater prove` tells more",
            batches=batches,
        )


async def _carry_on(
    settings: Settings,
    catalog: Catalog,
    connection: Connection,
    graph: Graph,
    metrics: Metrics,
    state: lifecycle.State,
) -> None:
    """Carry without end; raises UnavailableError when Postgres or the graph goes away."""
    now_and_then = (
        _Every(LAG_EVERY, lambda: _show_lag(connection, metrics)),
        _Every(REJECTED_EVERY, lambda: _show_rejected(connection, catalog, metrics)),
        _Every(END_WRITERS_EVERY, lambda: seal.end_writers(connection)),
        _Every(ANCHOR_EVERY, lambda: _anchor(connection, settings)),
    )
    while True:
        for each in now_and_then:
            await each.when_due()
        if not await _carry(connection, graph, metrics, state):
            await asyncio.sleep(PAUSE)


class _Every:
    """Work that is due every so many seconds, the first time at once."""

    def __init__(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        self._seconds, self._work = seconds, work
        self._due = float("-inf")

    async def when_due(self) -> None:
        if (now := monotonic()) >= self._due:
            self._due = now + self._seconds
            await self._work()


async def _carry(connection: Connection, graph: Graph, metrics: Metrics, state: lifecycle.State) -> bool:
    """One round; whether more waits."""
    carried = await log_relay.carry(connection, graph)
    if carried.oldest is None:
        return False
    metrics.in_graph(carried.oldest, datetime.now(UTC))
    state.did("carry", entries=carried.entries)
    log.debug("carried", entries=carried.entries)
    return carried.behind


async def _anchor(connection: Connection, settings: Settings) -> None:
    """Keep the newest seal's hash outside Postgres."""
    newest = await seal.newest(connection)
    if newest is not None:
        await asyncio.to_thread(anchors.append, settings.anchors, await seal.identity(connection), newest)


async def _show_lag(connection: Connection, metrics: Metrics) -> None:
    lag, now = await log_relay.lag(connection), datetime.now(UTC)
    oldest = now - lag.oldest if lag.oldest else timedelta(0)
    metrics.relay_lag(lag.entries, max(oldest, timedelta(0)), now, lag.unshown)


async def _show_rejected(connection: Connection, catalog: Catalog, metrics: Metrics) -> None:
    """The gauge is for all pipelines, so that one that is not running has its depth shown too."""
    depth = await open_rejected(connection)
    for pipeline in catalog.pipelines.values():
        metrics.rejected_records.labels(pipeline.name).set(waiting_of(pipeline, depth))
