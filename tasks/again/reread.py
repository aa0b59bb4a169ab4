"""What a replay and a reprocess share: a raw batch goes again through today's pipeline, under a new number.

    raw batch (as stored) ─refine─▶ today's rows ─▶ ONE transaction, which a dry run rolls back

Rows carry the new batch's number, the original `raw_batch` and `sequence`; no bytes are copied.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from infra.postgres import Transaction
from lineage.append import next_batch
from tasks.batch import RawBatch, Receipt, Reference, Refined
from tasks.contract import Contract
from tasks.load.commit import remember, write_books
from tasks.load.plan import Commit, LoadPlan
from tasks.load.raw import StoredRaw
from tasks.load.readers import reader_of
from tasks.load.settle import Settled
from tasks.load.store import WriterSession

LOCK = 0x48_50  # "HP": the first key of the advisory lock; the second is the raw batch


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentPipeline:
    """How records are judged today.

    `row_local`: each message is one record and is judged without its neighbours, so only the chosen ones are
    read. Otherwise (a robot's pages, where steps need their run) the whole batch is refined, and all its
    open records are replayed, chosen or not. `concludes_from`: frame of `Reference` → table whose standing
    rows it held when rows of no message were concluded from them. `looks_up`: the reference tables
    of its steps; `looked_up`: the state of each dataset that its values are looked up in.
    """

    plan: LoadPlan
    refine: Callable[[RawBatch, Reference], Awaitable[Refined]]
    reference: Reference
    row_local: bool
    concludes_from: Mapping[str, str] = field(default_factory=dict)
    looks_up: Mapping[str, Contract] = field(default_factory=dict)
    looked_up: Callable[[Reference], Mapping[str, str]] = lambda _reference: {}


@asynccontextmanager
async def raw_batch_lock(session: WriterSession, raw_batch: int) -> AsyncIterator[None]:
    """Nobody else reads this raw batch again meanwhile; a failure cuts the connection, and frees the lock."""
    key = (LOCK, raw_batch % (1 << 31))
    await session.connection.execute("SELECT pg_advisory_lock($1, $2)", *key)
    yield
    await session.connection.execute("SELECT pg_advisory_unlock($1, $2)", *key)


async def begin(
    session: WriterSession, plan: LoadPlan, raw: StoredRaw, refined: Refined
) -> tuple[Commit, Transaction]:
    """A commit of what a raw batch that was read again gave; a failure cuts connection and transaction."""
    number, at = await next_batch(session.connection)
    commit = Commit(
        connection=session.connection,
        number=number,
        at=at,
        plan=plan,
        keys=session.keys,
        batch=replace(raw.batch, position=None),
        digests=raw.digests,
        raw_batch=raw.number,
        reader=await reader_of(session.connection, session.first_readers, plan, raw.batch.dataset),
        looked_up=refined.looked_up,
    )
    transaction = session.connection.transaction()
    await transaction.start()
    return commit, transaction


async def end(
    session: WriterSession, commit: Commit, transaction: Transaction, settled: Settled, *, dry_run: bool
) -> Receipt:
    """Write the written, and commit; a dry run's receipt says what would have happened."""
    written = await write_books(session, commit, settled)
    if dry_run:
        await transaction.rollback()
    else:
        await transaction.commit()
        remember(session, commit, written)
    return written.receipt
