"""The stream: from a source to Postgres until it is told to stop; what `headwater listen` runs.

    MQTT, Kafka, files ─batches─▶ refine ─▶ load ─▶ acknowledge        `flows/streams.py`, `tasks/ingest.py`

While Postgres is away the batch is tried again without end, no batch after the next one is read (that one is
prepared meanwhile), and the source holds the rest; so it is when Postgres is there and broken (a column
renamed, a right withdrawn). Only what Postgres refuses for its data is rejected: the batch is halved until
the one record it refuses stands alone.
"""

import asyncio
import gc
from contextlib import AsyncExitStack, nullcontext
from datetime import UTC, datetime
from uuid import uuid4

from prometheus_client import CollectorRegistry

from flows import process, stores
from flows.catalog import Pipeline
from flows.listener import Listener
from flows.retry import without_end
from flows.slot import slot
from flows.streams import Stream, kind_of
from infra.metrics import Metrics
from infra.settings import Settings
from lineage.errors import ContractError
from lineage.model import Run

GRACE = 10.0  # seconds for the batch under way when told to stop


async def listen(settings: Settings, pipeline: Pipeline, *, leave: bool = False) -> None:
    """Ingest until SIGTERM or SIGINT; `leave`: ingest what the broker still keeps, and end the session."""
    kind = kind_of(pipeline)
    metrics = Metrics(CollectorRegistry())
    metrics.declare(pipeline.name)
    state = process.State()
    run = Run(id=uuid4(), kind="listener", name=pipeline.name, started_at=datetime.now(UTC))
    plan = pipeline.load_plan(run)
    with process.stop_signal() as stop, process.observed(settings, state.health):
        async with AsyncExitStack() as opened:
            store = await opened.enter_async_context(stores.open_store(settings, "listen"))
            stream = kind(settings, pipeline, plan, store)
            if leave and stream.client_id is None:
                raise ContractError("Nothing is kept for this listener: --drain is for MQTT; just end it.")
            more = [stores.open_store(settings, "listen") for _ in range(1, stream.connections)]
            every = [store, *[await opened.enter_async_context(each) for each in more]]
            listener = Listener(settings, pipeline, plan, every, stream, metrics, state)
            work = _listen_alone(settings, listener, stream, stop, leave=leave)
            await process.unless(stop, work, grace=GRACE)


async def _listen_alone(
    settings: Settings, listener: Listener, stream: Stream, stop: asyncio.Event, *, leave: bool
) -> None:
    """Only one process at a time may be the client that a broker keeps messages for."""
    async with slot(settings, stop) if stream.client_id else nullcontext():
        await _listen(settings, listener, stream, stop, leave=leave)


async def _listen(
    settings: Settings, listener: Listener, stream: Stream, stop: asyncio.Event, *, leave: bool
) -> None:
    known = await without_end(listener.enter, what="start")
    async with stream.open(known=known, leave=leave) as coming:
        gc.freeze()  # what is loaded stays: to look through it for garbage stops the stream for 60 ms
        await process.beside(listener.run(coming, stop), listener.watch())
    if leave and not stop.is_set():
        await without_end(listener.leave, what="leave")
