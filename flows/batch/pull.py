"""The flow of every source that is asked: from its mark to its end, a batch at a time.

    mark ─extract─▶ batch ─transform─▶ load ─▶ verify ─▶ the next …

Run by the pipeline's schedule, by a trigger or by hand. One that was killed goes on from the last commit; of
two at once one is overtaken and ends, since the other reads all there is.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from time import monotonic

import structlog
from prefect import flow
from pydantic import Field

from flows import catalog
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
from lineage.errors import NotFoundError
from tasks.batch import RawBatch, Receipt, Reference
from tasks.contract import Frozen
from tasks.extract.pull import Pull, Reading
from tasks.load import progress
from tasks.load.overtaken import OvertakenError
from tasks.load.reference import ReferenceTables
from tasks.load.store import Store
from tasks.look.device_register import read_devices

log = structlog.get_logger(__name__)

NAME = "pull"


class PullRequest(Frozen):
    """Which pipeline of the catalog to run."""

    pipeline: str = Field(min_length=1)

    def check(self, settings: Settings) -> None:
        """Raises NotFoundError for a pipeline whose source is not asked."""
        source_of(catalog.read(settings).pipeline(self.pipeline))


@flow(name=FLOW + NAME, flow_run_name="{request.pipeline}", persist_result=False)
async def pull(request: PullRequest) -> str:
    """Read a source from its mark to its end; returns what became of it in one sentence."""
    settings, name = load(), request.pipeline
    pipeline = catalog.read(settings).pipeline(name)
    source = source_of(pipeline)
    plan = pipeline.load_plan(current_run(name))
    metrics().declare(name)
    with measured(name):
        await step("prepare", stores.prepare_tables, pipeline.retry)(settings, pipeline.every_contract)
        async with stores.open_store(settings, f"flow {name}") as store:
            await step("limit", limits.check, pipeline.retry)(store.pool, pipeline)
            carrying = Carrying(pipeline, plan, store, key_file.read(settings.digest_keys))
            receipts = await _read_to_the_end(
                _Extracting(settings, pipeline, source, store), carrying, _LookingUp(pipeline, store)
            )
            for receipt in receipts:
                await artifact.publish(store.pool, name, receipt)
    return _sentence(source, receipts)


async def _read_to_the_end(
    extracting: "_Extracting", carrying: Carrying, looking_up: "_LookingUp"
) -> Sequence[Receipt]:
    """The receipt of each batch; of a reading that was overtaken those of before."""
    receipts: list[Receipt] = []
    while (batch := await extracting.next()) is not None:
        try:
            receipts.append(await carrying.carry(batch, await looking_up.reference()))
        except OvertakenError as error:
            log.warning("ended: another run reads the same", reason=str(error))
            break
    return receipts


class _LookingUp:
    """What values are looked up in, as it is when a batch has come."""

    def __init__(self, pipeline: Pipeline, store: Store) -> None:
        self._tables, self._store = ReferenceTables(pipeline.looks_up.values()), store
        self.reference = step("reference", self._reference, pipeline.retry)

    async def _reference(self) -> Reference:
        pool = self._store.pool
        states = await self._tables.current(pool) if self._tables else {}
        return Reference(frames={"devices": await read_devices(pool)}, tables=states)


class _Extracting:
    """Reads a source; what failed is begun again from the mark that is committed."""

    def __init__(self, settings: Settings, pipeline: Pipeline, source: Pull, store: Store) -> None:
        self._settings, self._pipeline, self._source, self._store = settings, pipeline, source, store
        self._coming: AsyncIterator[RawBatch] | None = None
        self.next = step("extract", self._next, pipeline.retry)

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
        dataset, pool, settings = self._source.dataset, self._store.pool, self._settings
        mark = await progress.mark(pool, self._pipeline.name, dataset)
        asked_at, began = await postgres.now(pool), monotonic()

        def now() -> datetime:
            return asked_at + timedelta(seconds=monotonic() - began)

        return Reading(dataset, mark, now, lambda: stores.connection(settings, self._source.connection))


def source_of(pipeline: Pipeline) -> Pull:
    """The pipeline's source; raises NotFoundError for one that is not asked."""
    if not isinstance(pipeline.source, Pull):
        raise NotFoundError(f"{pipeline.name} is not asked: its source is {pipeline.source.type}.")
    return pipeline.source


def _sentence(source: Pull, receipts: Sequence[Receipt]) -> str:
    """What all batches together came to."""
    if not receipts:
        return f"Nothing new of {source.dataset}."
    accepted = sum(sum(receipt.accepted.values()) for receipt in receipts)
    read, rejected, duplicates, filtered = (
        sum(getattr(receipt, name) for receipt in receipts)
        for name in ("read", "rejected", "duplicates", "filtered")
    )
    return (
        f"Read {read:,} in {counted(len(receipts), 'batch')}: {accepted:,} accepted, "
        f"{rejected:,} rejected, {duplicates:,} duplicates, {filtered:,} filtered."
    )
