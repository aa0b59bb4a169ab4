"""A batch in a flow run, the whole way: each step is a Prefect task around the same function as the stream's.

transform ─▶ load ─▶ verify
"""

import asyncio
from datetime import timedelta
from time import perf_counter

from flows.batch.steps import step
from flows.catalog import Pipeline
from flows.process.counting import count, metrics
from infra.metrics import Stage
from lineage.keys import KeyRing
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.ingest import Steps, ingest
from tasks.load import commit
from tasks.load.plan import LoadPlan
from tasks.load.prepare import Prepared, prepare
from tasks.load.store import Store
from tasks.look.verify import verify


class Carrying:
    """The steps of a flow run's batches."""

    def __init__(self, pipeline: Pipeline, plan: LoadPlan, store: Store, keys: KeyRing) -> None:
        self._name, self._retry, self._plan, self._store = pipeline.name, pipeline.retry, plan, store
        self._keys, self._refine = keys, pipeline.refine()

    async def carry(self, batch: RawBatch, reference: Reference) -> Receipt:
        """Turn it into rows, commit them with their lineage, and compare what is stored with what was read.

        Raises VerificationError where they differ.
        """
        prepared: Prepared | None = None

        async def load(batch: RawBatch, refined: Refined) -> Receipt:
            nonlocal prepared
            if prepared is None:  # kept between tries, see `commit.load`
                with metrics().timed(self._name, Stage.PREPARE):
                    prepared = await asyncio.to_thread(prepare, batch, refined, self._plan)
            return await self._load(batch, prepared)

        steps = Steps(
            refine=step("transform", self._transform, self._retry), load=step("load", load, self._retry)
        )
        receipt = await ingest(batch, reference, steps)
        await step("verify", self._verify, self._retry)(receipt)
        return receipt

    async def _transform(self, batch: RawBatch, reference: Reference) -> Refined:
        with metrics().timed(self._name, Stage.TRANSFORM):
            return await asyncio.to_thread(self._refine, batch, reference)

    async def _load(self, batch: RawBatch, prepared: Prepared) -> Receipt:
        began = perf_counter()
        with metrics().timed(self._name, Stage.LOAD):
            receipt = await commit.load(self._store, self._plan, prepared)
        count(metrics(), self._name, batch, receipt, timedelta(seconds=perf_counter() - began))
        return receipt

    async def _verify(self, receipt: Receipt) -> None:
        with metrics().timed(self._name, Stage.VERIFY):
            await verify(self._store.pool, receipt, self._keys)
