"""The one way from a source to Postgres; whoever opens this file should understand Headwater in a minute.

    source ─extract─▶ batch ─refine─▶ accepted + rejected ─load─▶ ONE transaction ─▶ acknowledge the source

A listener passes plain functions, a flow the same functions as Prefect tasks.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tasks.batch import RawBatch, Receipt, Reference, Refined


@dataclass(frozen=True, slots=True)
class Steps:
    """What a pipeline does with a batch."""

    refine: Callable[[RawBatch, Reference], Awaitable[Refined]]
    load: Callable[[RawBatch, Refined], Awaitable[Receipt]]


async def ingest(batch: RawBatch, reference: Reference, steps: Steps) -> Receipt:
    """Carry one batch the whole way; acknowledged only once it is committed."""
    refined = await steps.refine(batch, reference)  # accepted, rejected, filtered; pure, row-local
    receipt = await steps.load(batch, refined)  # ONE transaction: rows, raw, rejected, ledger and lineage
    await batch.acknowledge()
    return receipt
