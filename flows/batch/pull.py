"""The flow of every source that is asked: from its mark to its end, a batch at a time.

    mark ─extract─▶ batch ─transform─▶ load ─▶ verify ─▶ the next …

Run by the pipeline's schedule, by a trigger, by the watch over robots or by hand. One that was killed goes on
from the last commit; of two at once one is overtaken and ends, since the other reads all there is.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from time import monotonic

import structlog
from prefect import flow
from pydantic import SecretStr

from flows import catalog
from flows.acts.asking import PullRequest, checked, robots_of, source_of
from flows.batch import artifact
from flows.batch.carrying import Carrying
from flows.batch.runs import current_run
from flows.batch.steps import step
from flows.catalog import Pipeline
from flows.process import limits, stores
from flows.process.counting import measured, metrics
from flows.process.ours import FLOW
from infra import key_file, postgres
from infra.metrics import Stage
from infra.settings import Settings, load
from lineage.counted import counted
from tasks.batch import RawBatch, Receipt, Reference
from tasks.contract import Frozen
from tasks.extract.pull import Reading
from tasks.load import progress
from tasks.load.overtaken import OvertakenError
from tasks.load.reference import ReferenceTables
from tasks.load.standing import standing_where
from tasks.load.store import Store
from tasks.look.device_register import read_devices
from tasks.transform.transforms import transform

log = structlog.get_logger(__name__)

NAME = "pull"


@flow(name=FLOW + NAME, flow_run_name="{request}", persist_result=False)
async def pull(request: PullRequest) -> str:
    """Read a source from its mark to its end; returns what became of it in one sentence."""
    settings, name = load(), request.pipeline
    pipeline = catalog.read(settings).pipeline(name)
    plan = pipeline.load_plan(current_run(name))
    metrics().declare(name)
    with measured(name):
        told = checked(pipeline, request.told, robots_of(settings))
        await step("prepare", stores.prepare_tables, pipeline.retry)(settings, pipeline.every_contract)
        async with stores.open_store(settings, f"flow {name}") as store:
            await step("limit", limits.check, pipeline.retry)(store.pool, pipeline)
            carrying = Carrying(pipeline, plan, store, key_file.read(settings.digest_keys))
            async with aclosing(_Extracting(settings, pipeline, told, store)) as extracting:
                receipts = await _read_to_the_end(extracting, carrying, _LookingUp(pipeline, store))
            for receipt in _new(receipts):
                await artifact.publish(store.pool, name, receipt)
    return _sentence(receipts) or source_of(pipeline).nothing_new(told)


async def _read_to_the_end(
    extracting: "_Extracting", carrying: Carrying, looking_up: "_LookingUp"
) -> Sequence[Receipt]:
    """The receipt of each batch; of a reading that was overtaken those of before."""
    receipts: list[Receipt] = []
    while (batch := await extracting.next()) is not None:
        try:
            receipts.append(await carrying.carry(batch, await looking_up.reference(batch)))
        except OvertakenError as error:
            log.warning("ended: another run reads the same", reason=str(error))
            break
    return receipts


class _LookingUp:
    """What values are looked up in, as it is when a batch has come."""

    def __init__(self, pipeline: Pipeline, store: Store) -> None:
        self._tables, self._store = ReferenceTables(pipeline.looks_up.values()), store
        self._contracts, self._transform = pipeline.contracts, transform(pipeline.transform)
        self.reference = step("reference", self._reference, pipeline.retry)

    async def _reference(self, batch: RawBatch) -> Reference:
        pool, where = self._store.pool, self._transform.standing(batch)
        states = await self._tables.current(pool) if self._tables else {}
        standing = {
            frame: await standing_where(pool, self._contracts[table], where)
            for frame, table in self._transform.concludes_from.items()
        }
        return Reference(frames={"devices": await read_devices(pool), **standing}, tables=states)


class _Extracting:
    """Reads a source; what failed is begun again from the mark that is committed."""

    def __init__(self, settings: Settings, pipeline: Pipeline, told: Frozen, store: Store) -> None:
        self._settings, self._pipeline, self._told, self._store = settings, pipeline, told, store
        self._source = source_of(pipeline)
        self._coming: AsyncIterator[RawBatch] | None = None
        self.next = step("extract", self._next, pipeline.retry)

    async def aclose(self) -> None:
        """Let go of what the source has open."""
        if isinstance(self._coming, AsyncGenerator):
            await self._coming.aclose()

    async def _next(self) -> RawBatch | None:
        """The batch that follows; None at the end."""
        with metrics().timed(self._pipeline.name, Stage.EXTRACT):
            try:
                if self._coming is None:
                    self._coming = self._source.batches(await self._reading())
                return await anext(self._coming, None)
            except BaseException:
                self._coming = None
                raise

    async def _reading(self) -> Reading:
        pool, settings, source = self._store.pool, self._settings, self._source
        dataset = source.dataset_of(self._told)
        mark = await progress.mark(pool, self._pipeline.name, dataset)
        asked_at, began = await postgres.now(pool), monotonic()

        def now() -> datetime:
            return asked_at + timedelta(seconds=monotonic() - began)

        def connect() -> SecretStr:
            return stores.connection(settings, source.connection)

        return Reading(dataset, mark, now, connect, self._told, robots_of(settings))


def _new(receipts: Sequence[Receipt]) -> list[Receipt]:
    """Those of batches that were not committed before."""
    return [receipt for receipt in receipts if receipt.way != "repeat"]


def _sentence(receipts: Sequence[Receipt]) -> str:
    """What all batches together came to; empty where there was none."""
    if not (new := _new(receipts)):
        held = ", ".join(str(receipt.batch) for receipt in receipts)
        hold = f"batch {held} holds" if len(receipts) == 1 else f"batches {held} hold"
        return f"Nothing new: {hold} the same already." if receipts else ""
    accepted = sum(sum(receipt.accepted.values()) for receipt in new)
    read, rejected, duplicates, filtered = (
        sum(getattr(receipt, name) for receipt in new)
        for name in ("read", "rejected", "duplicates", "filtered")
    )
    return (
        f"Read {read:,} in {counted(len(new), 'batch')}: {accepted:,} accepted, "
        f"{rejected:,} rejected, {duplicates:,} duplicates, {filtered:,} filtered."
    )
