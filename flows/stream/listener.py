"""One listener at work: each batch from its source to Postgres, tried again for as long as it takes."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic, perf_counter

import polars as pl
import structlog

from flows.catalog import Pipeline
from flows.process import lifecycle, stores
from flows.process.counting import count
from flows.process.limits import Gate
from flows.process.retry import When, cannot_be_stored, is_away, is_broken, must_wait, without_end
from flows.stream.streams import Showing, stream_of
from flows.stream.turns import Line, Turn
from infra.metrics import Metrics, Stage, Status
from infra.settings import Settings
from lineage.errors import DataError, HeadwaterError, QueryError, TransformError
from tasks.batch import RawBatch, Receipt, Reference, ReferenceState, Refined
from tasks.extract.stream import Listening
from tasks.ingest import Steps, ingest
from tasks.load.commit import load
from tasks.load.overtaken import OvertakenError
from tasks.load.plan import LoadPlan
from tasks.load.prepare import Prepared, prepare
from tasks.load.reference import ReferenceTables
from tasks.load.refused import failed, halves, refused
from tasks.load.store import Store
from tasks.look import sessions
from tasks.look.device_register import read_devices

log = structlog.get_logger(__name__)

PRESENT_EVERY = 60.0  # seconds between two signs that we are here
WATCH_EVERY = 1.0  # seconds between two looks at the session
REGISTER_EVERY = 10.0  # seconds; how old the device register may be


class Listener:
    """One pipeline's steps with retries, measured."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        plan: LoadPlan,
        every: Sequence[Store],
        given: Listening,
        metrics: Metrics,
        state: lifecycle.State,
    ) -> None:
        self._settings, self._pipeline, self._name, self._plan = settings, pipeline, pipeline.name, plan
        self._store, self._metrics, self._state = every[0], metrics, state
        self.stream, self.given, self._showing = stream_of(pipeline), given, Showing(metrics, pipeline.name)
        self.client_id = given.client_id if self.stream.keeps_session else None
        self._idle = asyncio.Queue[Store]()
        for store in every:
            self._idle.put_nowait(store)
        self._transform = pipeline.refine()
        self._gate = Gate(self._store.pool, pipeline)
        self._reference = Reference(frames={})
        self._tables = ReferenceTables(pipeline.looks_up.values())
        self._broken, self._waits = "", False  # why Postgres takes nothing; whether it is away
        self._reference_until = float("-inf")
        self._present_at = monotonic()

    async def enter(self) -> bool:
        """Make ready what is written to; whether the broker should still know our session."""
        await stores.prepare_tables(self._settings, self._pipeline.every_contract)
        for contract in self._pipeline.contracts.values():
            await self._store.partitions.ensure_ahead(contract, datetime.now(UTC))
        if self.client_id is None:
            return False
        return await sessions.enter(self._store.pool, self.client_id, self._name)

    async def leave(self) -> None:
        """Note that the session is ended."""
        assert self.client_id is not None  # noqa: S101 - `listen` asked
        await sessions.leave(self._store.pool, self.client_id)
        log.info("left: the broker keeps nothing for us any more", client_id=self.client_id)

    async def run(self, coming: AsyncIterator[RawBatch], stop: asyncio.Event) -> None:
        """Ingest every batch that comes, until `stop` is set or no more come."""
        reading, line = asyncio.Lock(), Line(in_order=self.stream.in_order)
        async with (
            aclosing(self._gate.let_through(coming)) as read,
            aclosing(lifecycle.until(stop, read)) as until_stopped,
        ):

            async def carry() -> None:
                while True:
                    async with reading:
                        batch = await anext(until_stopped, None)
                        turn = line.join()
                    if batch is None:
                        return
                    await self._take(batch, turn)
                    turn.leave()  # not after an error: it ends the others

            await lifecycle.together(*(carry() for _ in range(self.stream.at_once)))

    async def watch(self) -> None:
        """Show once a second how the source does, without end."""
        while True:
            await self._gate.rejected.look()
            doing, full = self._showing.show(self.given.show()), self._gate.rejected.reached
            self._metrics.rejected_limit_reached.labels(self._name).set(full)
            if self._broken:
                self._state.failing(self._broken)
            else:
                self._state.running("not read" if full else "waiting for Postgres" if self._waits else doing)
            await self._show_presence()
            await asyncio.sleep(WATCH_EVERY)

    async def _show_presence(self) -> None:
        """Say now and then that we are here: who is silent and has not left holds messages back."""
        now, client_id = monotonic(), self.client_id
        if client_id is None or now - self._present_at < PRESENT_EVERY:
            return
        self._present_at = now
        try:
            await sessions.seen(self._store.pool, client_id)
        except HeadwaterError as error:
            log.warning("presence not shown", reason=str(error))

    async def _take(self, batch: RawBatch, turn: Turn) -> None:
        """Ingest a batch, or abandon all that is left of it where another consumer overtook it."""
        gathering = (batch.received_until - batch.received_at).total_seconds()
        latency = self._metrics.data_processing_latency_seconds
        latency.labels(self._name, Stage.EXTRACT, Status.OK).observe(gathering)
        try:
            await self._ingest(batch, turn)
        except OvertakenError as error:
            log.warning("batch abandoned", reason=str(error))
            await batch.abandon()

    async def _ingest(self, batch: RawBatch, turn: Turn) -> None:
        """Carry a batch the whole way; halved while its data is refused, to the one record that it is."""
        reference = await self._current_reference()
        try:
            self._report(await ingest(batch, reference, self._steps(turn)))
        except (DataError, TransformError) as error:
            two = halves(batch)
            if two is None:
                self._report(await self._reject(batch, error))
                return
            for half in two:
                await self._ingest(half, turn)
            await batch.acknowledge()

    def _steps(self, turn: Turn) -> Steps:
        """The steps of a batch that has this turn in the line."""

        async def load_in_turn(batch: RawBatch, refined: Refined) -> Receipt:
            with self._metrics.timed(self._name, Stage.PREPARE):
                prepared = await asyncio.to_thread(prepare, batch, refined, self._plan)
            await turn.come()
            return await self._load(prepared)

        return Steps(refine=self._refine, load=load_in_turn)

    async def _refine(self, batch: RawBatch, reference: Reference) -> Refined:
        with self._metrics.timed(self._name, Stage.TRANSFORM):
            # In a thread: a loop that is busy for long sends no keep-alive.
            return await asyncio.to_thread(self._transform, batch, reference)

    async def _load(self, prepared: Prepared, when: When = must_wait) -> Receipt:
        async def once() -> tuple[Receipt, float]:
            began = perf_counter()
            with self._metrics.timed(self._name, Stage.LOAD), self._held(when):
                async with self._prepared_again():
                    receipt = await load(store, self._plan, prepared)
            return receipt, perf_counter() - began

        store = await self._idle.get()
        try:
            receipt, seconds = await without_end(once, what="commit", when=when)
        finally:
            self._idle.put_nowait(store)
        count(self._metrics, self._name, prepared.batch, receipt, timedelta(seconds=seconds))
        return receipt

    @contextmanager
    def _held(self, when: When) -> Iterator[None]:
        """Tell at /health that Postgres is away, or refuses what is tried again, for as long as it does."""
        try:
            yield
        except HeadwaterError as error:
            self._waits = is_away(error)
            self._broken = str(error) if when(error) and not self._waits else ""
            raise
        self._broken, self._waits = "", False

    @asynccontextmanager
    async def _prepared_again(self) -> AsyncIterator[None]:
        """Prepare the tables for the next try of what was refused.

        Nothing is done that store.contracts and store.migrations say was done: a backup that was restored may
        be from before.
        """
        try:
            yield
        except QueryError as error:
            if is_broken(error):
                await self._prepare_again()
            raise

    async def _prepare_again(self) -> None:
        try:
            await stores.prepare_tables(self._settings, self._pipeline.every_contract)
        except HeadwaterError as error:
            log.warning("tables not prepared again", reason=str(error))

    async def _reject(self, batch: RawBatch, error: DataError | TransformError) -> Receipt:
        """Store a record that fails as a rejected one; without end, for it has no other place.

        Before a constraint refused it, it may have been stored: it is looked up as one that may repeat.
        """
        if isinstance(error, TransformError):
            log.error("a record is rejected: the transform failed on it", exc_info=error.__cause__)
            record = failed(batch, str(error))
        else:
            refined = await self._refine(batch, await self._current_reference())
            record = refused(batch, refined, self._plan.contracts, str(error))
        prepared = prepare(replace(batch, may_repeat=True), record, self._plan)
        receipt = await self._load(prepared, cannot_be_stored)
        await batch.acknowledge()
        return receipt

    async def _current_reference(self) -> Reference:
        if monotonic() >= self._reference_until:
            devices = await without_end(self._read_devices, what="device register", when=must_wait)
            if not devices.equals(self._reference.frames.get("devices", pl.DataFrame())):
                # Else its digest is known.
                self._reference = Reference(frames={"devices": devices}, tables=self._reference.tables)
            self._reference_until = monotonic() + REGISTER_EVERY
        if self._tables:
            states = await without_end(self._read_tables, what="reference tables", when=must_wait)
            if states is not self._reference.tables:
                self._reference = replace(self._reference, tables=states)
        return self._reference

    async def _read_devices(self) -> pl.DataFrame:
        with self._held(must_wait):
            return await read_devices(self._store.pool)

    async def _read_tables(self) -> Mapping[str, ReferenceState]:
        with self._held(must_wait):
            return await self._tables.current(self._store.pool)

    def _report(self, receipt: Receipt) -> None:
        self._gate.add(receipt)
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
