"""The streams: from their sources to Postgres until they are told to stop; what `headwater listen` runs.

    a stream ─batches─▶ refine ─▶ load ─▶ acknowledge        `tasks/extract/stream.py`, `tasks/ingest.py`

While Postgres is away the batch is tried again without end, no batch after the next one is read (that one is
prepared meanwhile), and the source holds the rest; so it is when Postgres is there and broken (a column
renamed, a right withdrawn). Only what Postgres refuses for its data is rejected: the batch is halved until
the one record it refuses stands alone.
"""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, nullcontext
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry
from structlog.contextvars import bind_contextvars

from flows.catalog import Catalog, Pipeline
from flows.process import lifecycle, stores
from flows.process.retry import without_end
from flows.stream.listener import Listener
from flows.stream.slot import slot
from flows.stream.streams import listening_of, places_of, stream_of, streams_of
from infra.metrics import Metrics
from infra.settings import Settings
from lineage.errors import ContractError, SettingsError
from lineage.model import Run
from tasks.load.store import Store
from tasks.look import sessions

log = structlog.get_logger(__name__)

GRACE = 10.0  # seconds for the batch under way when told to stop
AGAIN = 30.0  # seconds until a stream that could not go on is begun again
THREADS = 6  # for each stream: reading, two batches being refined or prepared, and room


async def listen_to(settings: Settings, catalog: Catalog, names: Sequence[str], *, leave: bool) -> None:
    """Listen to the streams named, or to every one of the catalog whose broker is known."""
    told = lifecycle.left_out(catalog.broken)
    if names:
        chosen = [catalog.pipeline(name) for name in dict.fromkeys(names)]
    else:
        chosen, not_run = streams_of(settings, catalog)
        for name, why in not_run.items():
            log.warning("a stream is not run", pipeline=name, why=why)
            told[f"not run: {name}"] = why
        if leave:
            chosen = [pipeline for pipeline in chosen if stream_of(pipeline).keeps_session]
    for pipeline in chosen:
        stream_of(pipeline)  # else it is refused before any is begun
    if not chosen:
        raise SettingsError("No stream of the catalog can be run: `headwater doctor` says what is missing.")
    await listen(settings, chosen, leave=leave, told=told)


async def listen(
    settings: Settings,
    pipelines: Sequence[Pipeline],
    *,
    leave: bool = False,
    told: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Ingest side by side until SIGTERM or SIGINT; `leave`: what brokers still keep, then end the sessions.

    One that cannot go on holds up no other: it is begun again. When none can, the error is raised. `told`:
    what /health says besides.
    """
    metrics = Metrics(CollectorRegistry())
    states = {pipeline.name: lifecycle.State() for pipeline in pipelines}
    ended: set[str] = set()  # those that could not go on
    threads = ThreadPoolExecutor(THREADS * len(pipelines), thread_name_prefix="listen")
    asyncio.get_running_loop().set_default_executor(threads)  # Kafka's polls would take those of the others

    async def go_on(pipeline: Pipeline) -> None:
        bind_contextvars(pipeline=pipeline.name)
        while not stop.is_set():
            ended.discard(pipeline.name)
            try:
                await _listen_to(settings, pipeline, metrics, states[pipeline.name], stop, leave=leave)
            except Exception as error:  # whatever it is, the others go on
                ended.add(pipeline.name)
                if len(ended) == len(pipelines):
                    raise
                states[pipeline.name].failing(f"ended: {error}")
                log.exception("a stream has ended, it is begun again", reason=str(error))
            else:
                return
            await lifecycle.pause(stop, AGAIN)

    health = partial(lifecycle.health_of, states, told)
    with lifecycle.stop_signal() as stop, lifecycle.observed(settings, health):
        await lifecycle.together(*(go_on(pipeline) for pipeline in pipelines))


async def _listen_to(
    settings: Settings,
    pipeline: Pipeline,
    metrics: Metrics,
    state: lifecycle.State,
    stop: asyncio.Event,
    *,
    leave: bool,
) -> None:
    stream = stream_of(pipeline)
    if leave and not stream.keeps_session:
        raise ContractError("Nothing is kept for this listener: --drain is for MQTT; just end it.")
    stream.find(places_of(settings))  # else it would wait for Postgres first
    metrics.declare(pipeline.name)
    run = Run(id=uuid4(), kind="listener", name=pipeline.name, started_at=datetime.now(UTC))
    plan = pipeline.load_plan(run)
    async with AsyncExitStack() as opened:
        own_stop = await opened.enter_async_context(lifecycle.set_by(stop))
        store = await opened.enter_async_context(stores.open_store(settings, "listen"))
        more = [stores.open_store(settings, "listen") for _ in range(1, stream.writers)]
        every = [store, *[await opened.enter_async_context(each) for each in more]]

        async def work() -> None:
            client_id = f"{settings.client_id}-{pipeline.name}-{settings.slot}"
            if stream.keeps_session:
                client_id = await _session_of_before(settings, pipeline, store) or client_id
            given = listening_of(settings, pipeline, plan, store.pool, client_id)
            given.leave = leave
            listener = Listener(settings, pipeline, plan, every, given, metrics, state)
            await _listen_alone(settings, listener, own_stop)

        await lifecycle.unless(own_stop, work(), grace=GRACE)


async def _session_of_before(settings: Settings, pipeline: Pipeline, store: Store) -> str | None:
    """The client id of an older version, without the pipeline, under which messages of it may wait."""
    before = f"{settings.client_id}-{settings.slot}"
    stands = await without_end(lambda: sessions.stands(store.pool, before, pipeline.name), what="session")
    return before if stands else None


async def _listen_alone(settings: Settings, listener: Listener, stop: asyncio.Event) -> None:
    """Only one process at a time may be the client that a broker keeps messages for."""
    async with slot(settings, listener.client_id, stop) if listener.client_id else nullcontext():
        await _listen(listener, stop)


async def _listen(listener: Listener, stop: asyncio.Event) -> None:
    listener.given.known = await without_end(listener.enter, what="start")
    async with listener.stream.open(listener.given) as coming:
        gc.freeze()  # what is loaded stays: to look through it for garbage stops the stream for 60 ms
        await lifecycle.beside(listener.run(coming, stop), listener.watch())
    if listener.given.leave and not stop.is_set():
        await without_end(listener.leave, what="leave")
