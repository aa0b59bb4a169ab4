"""When a source is read: not while too many rejected records of it wait, and not faster than it may be.

Nothing is forgotten meanwhile: the broker, the topic or the folder keeps what is not read.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from time import monotonic
from typing import Final

import structlog
from aiolimiter import AsyncLimiter

from flows.catalog import Catalog, Pipeline
from flows.process.retry import must_wait, without_end
from infra.postgres import Pool
from lineage.errors import HeadwaterError, RejectedError
from tasks.batch import RawBatch, Receipt
from tasks.look.status import Waiting, open_rejected

log = structlog.get_logger(__name__)

COUNT_EVERY: Final = 10.0  # seconds; other listeners and replays change the number too
LOOK_EVERY: Final = 2.0  # seconds between two looks while the source is not read


class RejectedLimit:
    """How many rejected records of a pipeline's source wait for a person, against its limit."""

    def __init__(self, pool: Pool, pipeline: Pipeline) -> None:
        self._pool, self._pipeline = pool, pipeline
        self._waiting = 0
        self._counted_at = float("-inf")
        self.reached = False

    async def below(self) -> None:
        """Return at once while fewer wait than the limit; else once somebody has replayed or dropped some."""
        while _reached(self._pipeline, await self._count()):
            self._reach()
            await asyncio.sleep(LOOK_EVERY)
        self._fall()

    async def look(self) -> None:
        """Count again while the limit is reached: who waits for a message that does not come does not."""
        if not self.reached or monotonic() - self._counted_at < LOOK_EVERY:
            return
        try:
            found = await waiting(self._pool, self._pipeline)
        except HeadwaterError as error:
            log.debug("rejected records not counted", reason=str(error))
            return
        self._note(found)
        if not _reached(self._pipeline, found):
            self._fall()

    def add(self, receipt: Receipt) -> None:
        """Count what a commit of ours rejected."""
        self._waiting += receipt.rejected
        if receipt.rejected and _reached(self._pipeline, self._waiting):
            self._reach()

    def _reach(self) -> None:
        if not self.reached:
            log.error(_sentence(self._pipeline, self._waiting), source=self._pipeline.name)
        self.reached = True

    def _fall(self) -> None:
        if self.reached:
            log.info("the source is read again", source=self._pipeline.name, waiting=self._waiting)
        self.reached = False

    def _note(self, found: int) -> None:
        self._waiting, self._counted_at = found, monotonic()

    async def _count(self) -> int:
        """Postgres's count, or the last one and what we rejected since while that is below the limit."""
        if _reached(self._pipeline, self._waiting) or monotonic() - self._counted_at > COUNT_EVERY:
            found = await without_end(
                lambda: waiting(self._pool, self._pipeline), what="limit", when=must_wait
            )
            self._note(found)
        return self._waiting


class RateCap:
    """At most so many records per second, on average: a token bucket that holds one second's worth.

    A batch is as large as it came; what it was too much is paid before the next one is read.
    """

    def __init__(self, per_second: float | None) -> None:
        self._burst = max(per_second or 0.0, 1.0)
        self._bucket = AsyncLimiter(self._burst, self._burst / per_second) if per_second else None
        self._owed = 0.0

    def add(self, receipt: Receipt) -> None:
        """Owe what was read."""
        self._owed += receipt.read

    async def paid(self) -> None:
        """Return when what was read before is paid for."""
        if self._bucket is None:
            return
        while self._owed > 0:
            part = min(self._owed, self._burst)
            await self._bucket.acquire(part)
            self._owed -= part


class Gate:
    """Both limits of one pipeline, before each batch that is read."""

    def __init__(self, pool: Pool, pipeline: Pipeline) -> None:
        self.rejected = RejectedLimit(pool, pipeline)
        self._rate = RateCap(pipeline.max_per_second)

    async def let_through(self, coming: AsyncIterator[RawBatch]) -> AsyncGenerator[RawBatch, None]:
        """The batches that come, each read only when it may be."""
        while True:
            await self.rejected.below()
            await self._rate.paid()
            batch = await anext(coming, None)
            if batch is None:
                return
            await self.rejected.below()  # the batch before it may have reached it since
            yield batch

    def add(self, receipt: Receipt) -> None:
        """Count a commit."""
        self.rejected.add(receipt)
        self._rate.add(receipt)


async def waiting(pool: Pool, pipeline: Pipeline) -> int:
    """How many rejected records of the pipeline's source wait for a person."""
    return waiting_of(pipeline, await open_rejected(pool))


async def check(pool: Pool, pipeline: Pipeline) -> None:
    """Raise RejectedError when the pipeline is at its limit."""
    found = await waiting(pool, pipeline)
    if _reached(pipeline, found):
        raise RejectedError(_sentence(pipeline, found))


def at_limit(catalog: Catalog, found: Waiting) -> tuple[str, ...]:
    """A sentence for each pipeline at its limit."""
    counted = [(pipeline, waiting_of(pipeline, found)) for pipeline in catalog.pipelines.values()]
    return tuple(_sentence(*each) for each in counted if _reached(*each))


def waiting_of(pipeline: Pipeline, found: Waiting) -> int:
    """The pipeline's own of the records that wait; one of its source whose reader is not known counts too."""
    return sum(
        records
        for (dataset, reader), records in found.items()
        if reader in (None, pipeline.name) and pipeline.source.gives(dataset)
    )


def _reached(pipeline: Pipeline, records: int) -> bool:
    return pipeline.rejected_limit is not None and records >= pipeline.rejected_limit


def _sentence(pipeline: Pipeline, records: int) -> str:
    return (
        f"{pipeline.name} is not read: {records:,} rejected records wait and its limit is "
        f"{pipeline.rejected_limit:,}. Replay or drop them: `headwater rejected ls` lists them."
    )
