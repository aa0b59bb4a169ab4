"""The stream: from the broker to Postgres until it is told to stop; what `headwater listen` runs.

    MQTT ─batches─▶ refine ─▶ load ─▶ acknowledge        one batch after the other, `tasks/ingest.py`

While Postgres is away the batch is tried again without end, nothing more is read, and the broker holds the
rest; so it is when Postgres is there and broken (a column renamed, a right withdrawn). Only what Postgres
refuses for its data is rejected: the batch is halved until the one message it refuses stands alone.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import perf_counter
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry

from flows import process, stores
from flows.catalog import Pipeline
from flows.counting import count
from flows.refused import halves, refused
from flows.retry import When, is_refused, must_wait, without_end
from infra.metrics import Metrics, Stage, Status
from infra.mqtt.session import Session
from infra.settings import Settings
from lineage import naming
from lineage.errors import ContractError, DataError, HeadwaterError, QueryError, UnavailableError
from lineage.model import Run
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.extract.mqtt import MqttOptions, MqttSource, batches, drain, open_session
from tasks.ingest import Steps, ingest
from tasks.load import listeners
from tasks.load.commit import Attempt, load
from tasks.load.devices import read_devices
from tasks.load.store import Store

log = structlog.get_logger(__name__)

GRACE = 10.0  # seconds for the batch under way when told to stop
PRESENT_EVERY = timedelta(minutes=1)
WATCH_EVERY = 1.0  # seconds between two looks at the session
REGISTER_EVERY = timedelta(seconds=10)  # how old the device register may be


async def listen(settings: Settings, pipeline: Pipeline, *, leave: bool = False) -> None:
    """Ingest until SIGTERM or SIGINT; `leave`: ingest what the broker still keeps, and end the session."""
    metrics = Metrics(CollectorRegistry())
    metrics.declare(pipeline.name)
    state = process.State()
    with process.stop_signal() as stop, process.observed(settings, state.health):
        async with stores.open_store(settings, "listen") as store:
            listener = Listener(pipeline, store, metrics, state, started=datetime.now(UTC))
            work = _listen(settings, listener, source_of(settings, pipeline), stop, leave=leave)
            await process.unless(stop, work, grace=GRACE)


async def _listen(
    settings: Settings, listener: "Listener", source: MqttSource, stop: asyncio.Event, *, leave: bool
) -> None:
    known = await without_end(lambda: listener.enter(settings, source), what="start")
    async with open_session(source, expected=known) as session:
        watching = asyncio.create_task(listener.watch(session))
        try:
            dataset = naming.mqtt(source.topic_filter)
            coming = drain(source, session, dataset) if leave else batches(source, session, dataset)
            await listener.run(coming, stop)
        finally:
            watching.cancel()
    if leave and not stop.is_set():
        await without_end(lambda: listener.leave(source), what="leave")


def source_of(settings: Settings, pipeline: Pipeline) -> MqttSource:
    """The pipeline's stream at the broker of the settings; raises ContractError if it has none."""
    if not isinstance(pipeline.source, MqttOptions):
        raise ContractError(f"{pipeline.name} is no stream: run it with `headwater run {pipeline.name}`.")
    broker = stores.mqtt(settings)
    options = pipeline.source.model_dump()
    return MqttSource(**options, url=broker.url, tls=broker.tls, client_id=settings.listener_id)


class Listener:
    """One pipeline's steps with retries, measured."""

    def __init__(
        self, pipeline: Pipeline, store: Store, metrics: Metrics, state: process.State, *, started: datetime
    ) -> None:
        run = Run(id=uuid4(), kind="listener", name=pipeline.name, started_at=started)
        self._pipeline, self._name = pipeline, pipeline.name
        self._store, self._metrics, self._state = store, metrics, state
        self._plan = pipeline.load_plan(run)
        self._transform = pipeline.refine()
        self._steps = Steps(refine=self._refine, load=self._load)
        self._reference = Reference(frames={})
        self._reference_until = started
        self._present_at = started
        self._broken = ""

    async def enter(self, settings: Settings, source: MqttSource) -> bool:
        """Make ready what is written to; whether the broker should still know our session."""
        contracts = self._pipeline.contracts().values()
        await stores.prepare_tables(settings, contracts)
        for contract in contracts:
            await self._store.partitions.ensure_ahead(contract, datetime.now(UTC))
        return await listeners.enter(self._store.pool, source.client_id, self._name)

    async def leave(self, source: MqttSource) -> None:
        """Note that the session is ended."""
        await listeners.leave(self._store.pool, source.client_id)
        log.info("left: the broker keeps nothing for us any more", client_id=source.client_id)

    async def run(self, coming: AsyncIterator[RawBatch], stop: asyncio.Event) -> None:
        """Ingest every batch that comes, until `stop` is set or no more come."""
        async with aclosing(process.until(stop, coming)) as until_stopped:
            async for batch in until_stopped:
                await self._ingest(batch)

    async def watch(self, session: Session) -> None:
        """Show once a second how the session does, without end."""
        counted, metrics, source = replace(session.numbers), self._metrics, self._name
        loop = asyncio.get_running_loop()
        while True:
            numbers, connection = session.numbers, session.connection
            connected = connection is not None and connection.lost is None
            if self._broken:
                self._state.failing(self._broken)
            else:
                self._state.running("listening" if connected else "waiting for the broker")
            oldest = session.oldest_unacknowledged(loop.time())
            metrics.listener_up.labels(source).set(connected)
            metrics.unacknowledged_messages.labels(source).set(session.unacknowledged)
            metrics.unacknowledged_oldest_seconds.labels(source).set(oldest)
            metrics.mqtt_sessions_lost_total.labels(source).inc(numbers.sessions_lost - counted.sessions_lost)
            metrics.mqtt_reconnects_total.labels(source).inc(numbers.reconnects - counted.reconnects)
            metrics.mqtt_qos0_messages_total.labels(source).inc(numbers.qos0 - counted.qos0)
            counted = replace(numbers)
            await self._show_presence(session.client_id)
            await asyncio.sleep(WATCH_EVERY)

    async def _show_presence(self, client_id: str) -> None:
        """Say now and then that we are here: who is silent and has not left holds messages back."""
        now = datetime.now(UTC)
        if now - self._present_at < PRESENT_EVERY:
            return
        self._present_at = now
        try:
            await listeners.seen(self._store.pool, client_id)
        except UnavailableError:
            log.debug("Postgres is away: presence not shown")

    async def _ingest(self, batch: RawBatch) -> None:
        """Carry a batch the whole way; halved while its data is refused, to the one message that is."""
        reference = await self._current_reference()
        gathering = (batch.received_until - batch.received_at).total_seconds()
        latency = self._metrics.data_processing_latency_seconds
        latency.labels(self._name, Stage.EXTRACT, Status.OK).observe(gathering)
        try:
            self._report(await ingest(batch, reference, self._steps))
        except DataError as error:
            if batch.messages.height == 1:
                self._report(await self._reject(batch, str(error)))
                return
            for half in halves(batch):
                await self._ingest(half)
            await batch.acknowledge()

    async def _refine(self, batch: RawBatch, reference: Reference) -> Refined:
        with self._metrics.timed(self._name, Stage.TRANSFORM):
            # In a thread: a loop that is busy for long sends no keep-alive.
            return await asyncio.to_thread(self._transform, batch, reference)

    async def _load(self, batch: RawBatch, refined: Refined, when: When = must_wait) -> Receipt:
        attempt = Attempt()

        async def once() -> tuple[Receipt, float]:
            began = perf_counter()
            with self._metrics.timed(self._name, Stage.LOAD), self._held():
                receipt = await load(self._store, self._plan, batch, refined, attempt)
            return receipt, perf_counter() - began

        receipt, seconds = await without_end(once, what="commit", when=when)
        count(self._metrics, self._name, batch, receipt, timedelta(seconds=seconds))
        return receipt

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Tell at /health that Postgres is there and refuses what is right, for as long as it does."""
        try:
            yield
        except HeadwaterError as error:
            self._broken = str(error) if isinstance(error, QueryError) else ""
            raise
        self._broken = ""

    async def _reject(self, batch: RawBatch, reason: str) -> Receipt:
        """Keep a message that the database refuses, and why, as a rejected record; there is no other way."""
        receipt = await self._load(batch, refused(reason), is_refused)
        await batch.acknowledge()
        return receipt

    async def _current_reference(self) -> Reference:
        if datetime.now(UTC) >= self._reference_until:
            devices = await without_end(lambda: read_devices(self._store.pool), what="device register")
            self._reference = Reference(frames={"devices": devices})
            self._reference_until = datetime.now(UTC) + REGISTER_EVERY
        return self._reference

    def _report(self, receipt: Receipt) -> None:
        level = log.info if receipt.rejected else log.debug
        level(
            "committed",
            batch=receipt.batch,
            read=receipt.read,
            accepted=sum(receipt.accepted.values()),
            rejected=receipt.rejected,
            duplicates=receipt.duplicates,
            way=receipt.way,
        )
        self._state.did("commit", batch=receipt.batch, read=receipt.read)
