"""Rejected records through today's pipelines again; one raw batch is one commit (`tasks/again/replay.py`)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from flows.acts.reference import reference_of
from flows.catalog import Catalog, Pipeline
from flows.process import stores
from infra.settings import Settings
from lineage.errors import DataError, NotFoundError, RejectedError, TransformError
from lineage.model import Run
from tasks.again.replay import replay as replay_batch
from tasks.again.reread import CurrentPipeline
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.load.store import Store
from tasks.look.rejected_queries import OpenBatch, Which, open_batches
from tasks.transform.transforms import transform
from tasks.trigger import READER

_COUNTED = (
    *("batches", "read", "accepted", "rejected", "duplicates", "filtered"),
    *("unchanged", "refused", "failed"),
)
log = structlog.get_logger(__name__)


async def replay(
    settings: Settings,
    catalog: Catalog,
    which: Which,
    *,
    dry_run: bool,
    tell: Callable[[int, int], None],
    stand_in: str | None = None,
) -> dict[str, int]:
    """Replay what is chosen; returns how many records were read, accepted, rejected …, over all batches.

    Each by the pipeline that read it, or by the `stand_in` where that is not known or is gone.
    `unchanged`: chosen records not judged again. As before stay `refused`, whose values Postgres refuses, and
    `failed`, on which the transform fails.
    """
    total = Counter(dict.fromkeys(_COUNTED, 0))
    async with stores.open_store(settings, "rejected replay") as store:
        await stores.prepare_each(settings, catalog.contracts.values())
        found = _of_pipelines(await open_batches(store.pool, which), total)
        reference = await reference_of(store.pool, catalog, {batch.dataset for batch in found})
        run = Run(id=uuid4(), kind="command", name="rejected replay", started_at=datetime.now(UTC))
        readers = Readers(catalog=catalog, reference=reference, run=run, stand_in=stand_in)
        for done, batch in enumerate(found, start=1):
            current = readers.of(batch.dataset, batch.pipeline)
            total.update(await _one(store, current, batch, dry_run))
            tell(done, len(found))
    return dict(total)


def _of_pipelines(found: Sequence[OpenBatch], total: Counter[str]) -> list[OpenBatch]:
    """Without what triggers read, which is not judged again: that is told."""
    left = [batch for batch in found if (batch.pipeline or "").startswith(READER)]
    if left:
        total["unchanged"] += len(left)
        log.warning("not judged again: messages of triggers; send them anew", records=len(left))
    return [batch for batch in found if batch not in left]


@dataclass(slots=True, kw_only=True)
class Readers:
    """The pipelines that raw batches are read again by, each loaded once.

    `stand_in`: the name of the one for batches whose reader is not known or is gone.
    """

    catalog: Catalog
    reference: Reference
    run: Run
    stand_in: str | None = None
    _loaded: dict[str, CurrentPipeline] = field(default_factory=dict)

    def of(self, dataset: str, reader: str | None) -> CurrentPipeline:
        """The pipeline that read a batch of the dataset; or NotFoundError, RejectedError."""
        pipeline = _reader(self.catalog, dataset, reader, self.stand_in)
        if pipeline.name not in self._loaded:
            self._loaded[pipeline.name] = _current(pipeline, self.reference, self.run)
        return self._loaded[pipeline.name]


def _reader(catalog: Catalog, dataset: str, reader: str | None, stand_in: str | None) -> Pipeline:
    if (reader or "").startswith(READER):
        raise RejectedError(
            f"{reader} read this of {dataset}: what a trigger read is not read again, send it anew."
        )
    reading = {name: one for name, one in catalog.pipelines.items() if one.source.gives(dataset)}
    if reader in reading:
        return reading[reader]
    if stand_in is not None:
        if stand_in not in reading:
            raise NotFoundError(f"No pipeline {stand_in} reads {dataset} today: choose {_names(reading)}.")
        return reading[stand_in]
    if reader is not None:
        if any((each.kind, each.name) == ("pipeline", reader) for each in catalog.broken):
            return catalog.pipeline(reader)  # raises why: nobody else has to read it
        raise NotFoundError(
            f"{reader}, which read {dataset}, does not read it any more: say by --pipeline who does it now "
            f"({_names(reading)})."
        )
    if not reading:
        raise NotFoundError(
            f"No pipeline reads {dataset} today: name another by --dataset, or add a pipeline that reads it."
        )
    if len(reading) > 1:
        raise RejectedError(
            f"{dataset} is read by {_names(reading)}, and it is not known by which some of its records were: "
            "say it by --pipeline."
        )
    (only,) = reading.values()
    return only


def _names(reading: Mapping[str, Pipeline]) -> str:
    return ", ".join(reading) or "none does"


def _current(pipeline: Pipeline, reference: Reference, run: Run) -> CurrentPipeline:
    function = pipeline.refine()

    async def refine(batch: RawBatch, looked_up: Reference) -> Refined:
        return await asyncio.to_thread(function, pipeline.read_as(batch), looked_up)

    of = transform(pipeline.transform)
    return CurrentPipeline(
        plan=pipeline.load_plan(run),
        refine=refine,
        reference=reference,
        row_local=of.row_local,
        concludes_from=of.concludes_from,
        looks_up=pipeline.looks_up,
        looked_up=pipeline.looked_up,
    )


async def _one(store: Store, pipeline: CurrentPipeline, batch: OpenBatch, dry_run: bool) -> dict[str, int]:
    """One raw batch. Where Postgres refuses its data, halves are tried: one record spoils no other."""
    try:
        receipt = await replay_batch(store, pipeline, batch.raw_batch, batch.identities, dry_run=dry_run)
    except (DataError, TransformError) as error:
        count = len(batch.identities)
        if count == 1 or not pipeline.row_local:
            log.warning("replay failed", raw_batch=batch.raw_batch, records=count, reason=str(error))
            return {"failed" if isinstance(error, TransformError) else "refused": count}
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
        "filtered": receipt.filtered,
    }
