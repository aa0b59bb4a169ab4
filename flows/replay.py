"""Rejected records through today's pipelines again; one raw batch is one commit (`tasks/load/replay.py`)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from flows import catalog, stores
from infra.settings import Settings
from lineage.errors import DataError, NotFoundError, TransformError
from lineage.model import Run
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.load.devices import read_devices
from tasks.load.rejected_queries import OpenBatch, Which, open_batches
from tasks.load.replay import replay as replay_batch
from tasks.load.reread import CurrentPipeline
from tasks.load.store import Store
from tasks.transform.registry import transform

log = structlog.get_logger(__name__)


async def replay(
    settings: Settings, which: Which, *, dry_run: bool, tell: Callable[[int, int], None]
) -> dict[str, int]:
    """Replay what is chosen; returns how many records were read, accepted, rejected …, over all batches.

    `unchanged`: chosen records not judged again; `refused`: those whose values Postgres refuses, as before.
    """
    total = Counter(batches=0, read=0, accepted=0, rejected=0, duplicates=0, unchanged=0, refused=0)
    async with stores.open_store(settings, "rejected replay") as store:
        await stores.prepare_tables(settings, catalog.all_contracts())
        reference = Reference(frames={"devices": await read_devices(store.pool)})
        run = Run(id=uuid4(), kind="command", name="rejected replay", started_at=datetime.now(UTC))
        pipelines: dict[str, CurrentPipeline] = {}
        found = await open_batches(store.pool, which)
        for done, batch in enumerate(found, start=1):
            if batch.dataset not in pipelines:
                pipelines[batch.dataset] = pipeline_of(batch.dataset, reference, run)
            total.update(await _one(store, pipelines[batch.dataset], batch, dry_run))
            tell(done, len(found))
    return dict(total)


def pipeline_of(dataset: str, reference: Reference, run: Run) -> CurrentPipeline:
    """The pipeline that reads a dataset today; raises NotFoundError when none does."""
    pipeline = next((one for one in catalog.pipelines().values() if one.source.gives(dataset)), None)
    if pipeline is None:
        raise NotFoundError(
            f"No pipeline reads {dataset} today: name another by --dataset, or add a pipeline that reads it."
        )
    function = pipeline.refine()

    async def refine(batch: RawBatch, looked_up: Reference) -> Refined:
        return await asyncio.to_thread(function, pipeline.read_as(batch), looked_up)

    row_local = transform(pipeline.transform).row_local
    return CurrentPipeline(
        plan=pipeline.load_plan(run), refine=refine, reference=reference, row_local=row_local
    )


async def _one(store: Store, pipeline: CurrentPipeline, batch: OpenBatch, dry_run: bool) -> dict[str, int]:
    """One raw batch. Where Postgres refuses its data, halves are tried: one record spoils no other."""
    try:
        receipt = await replay_batch(store, pipeline, batch.raw_batch, batch.identities, dry_run=dry_run)
    except (DataError, TransformError) as error:
        count = len(batch.identities)
        if count == 1 or not pipeline.row_local:
            log.warning("replay refused", raw_batch=batch.raw_batch, records=count, reason=str(error))
            return {"refused": count}
        halves = (batch.identities[: count // 2], batch.identities[count // 2 :])
        both = Counter[str]()
        for half in halves:
            both.update(await _one(store, pipeline, replace(batch, identities=half), dry_run))
        return both
    return _counts(receipt) if receipt else {"unchanged": len(batch.identities)}


def _counts(receipt: Receipt) -> dict[str, int]:
    return {
        "batches": 1,
        "read": receipt.read,
        "accepted": sum(receipt.accepted.values()),
        "rejected": receipt.rejected,
        "duplicates": receipt.duplicates,
    }
