"""Replay: rejected records of one raw batch go through today's pipeline again.

    raw batch (as stored) ─refine─▶ only what was rejected ─▶ ONE transaction: rows, verdicts, ledger, lineage

The only way a verdict changes. Accepted rows carry the new batch's number, the original `raw_batch` and
`sequence`; no bytes are copied. A record is judged once by one version of a transformation: replaying
again changes nothing. Two replays of one raw batch wait for each other; one that is killed leaves no trace.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from infra.postgres import Connection
from tasks.batch import Position, RawBatch, Receipt, Reference, Refined, layout_of
from tasks.load.commit import committed, placed, write_books
from tasks.load.plan import Commit, LoadPlan
from tasks.load.raw import DIGEST_BYTES, digest_at, unpack
from tasks.load.settle import Settled, store_accepted
from tasks.load.store import Store, WriterSession
from tasks.load.verdicts import OPEN_SCHEMA, at_issue, judge, write_verdicts

LOCK = 0x48_50  # "HP": the first key of the advisory lock; the second is the raw batch
DROPPING = (LOCK, -1)  # shared by replays, held alone by a drop
_OPEN = """
SELECT identity, sequence, part, rules FROM store.rejected r
WHERE (r.raw_batch = $1 OR (r.batch = $1 AND r.raw_batch IS NULL)) AND r.resolved_by IS NULL
  AND ($2::bytea[] IS NULL OR r.identity = ANY($2))
  AND NOT EXISTS (
    SELECT FROM store.replays p JOIN store.ledger l ON l.batch = p.batch
    WHERE p.identity = r.identity AND l.transformation_id = $3
  )
ORDER BY identity
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentPipeline:
    """How records are judged today.

    `alone`: each message is one record and is judged without its neighbours, so only the chosen ones are
    read. Otherwise (a robot's pages, where steps need their run) the whole batch is refined, and all its
    open records are replayed, chosen or not.
    """

    plan: LoadPlan
    refine: Callable[[RawBatch, Reference], Awaitable[Refined]]
    reference: Reference
    alone: bool


@dataclass(frozen=True, slots=True)
class StoredRaw:
    """A raw batch as stored; `messages` (n) with nulls where one was erased."""

    number: int
    batch: RawBatch
    digests: pl.Series


async def replay(
    store: Store,
    current: CurrentPipeline,
    raw_batch: int,
    chosen: Sequence[bytes] | None = None,
    *,
    dry_run: bool = False,
) -> Receipt | None:
    """Replay open records of a raw batch (`chosen`: their identities, None: all of them).

    None when there is nothing to judge. A dry run does everything and rolls it back: its receipt says what
    would happen. After UnavailableError call again: what was committed is not open any more.
    """
    async with store.work() as session:
        key = (LOCK, raw_batch % (1 << 31))
        await session.connection.execute("SELECT pg_advisory_lock_shared($1, $2)", *DROPPING)
        await session.connection.execute("SELECT pg_advisory_lock($1, $2)", *key)
        receipt = await _replay(session, current, raw_batch, chosen, dry_run)
        await session.connection.execute("SELECT pg_advisory_unlock($1, $2)", *key)
        await session.connection.execute("SELECT pg_advisory_unlock_shared($1, $2)", *DROPPING)
        return receipt


async def _replay(
    session: WriterSession,
    current: CurrentPipeline,
    raw_batch: int,
    chosen: Sequence[bytes] | None,
    dry_run: bool,
) -> Receipt | None:
    wanted = chosen if current.alone else None
    records = await _open(session.connection, raw_batch, wanted, current.plan)
    if records.is_empty():
        return None
    raw = await read_raw(session.connection, raw_batch)
    records = _with_bytes(records, raw)
    if records.is_empty():
        return None
    refined = at_issue(await _refine(current, raw, records), records)
    for table, rows in refined.accepted.items():
        contract = current.plan.contracts[table]
        await session.partitions.ensure(contract, rows[contract.time])
    return await _commit(session, current.plan, raw, records, refined, dry_run)


async def _open(
    connection: Connection, raw_batch: int, chosen: Sequence[bytes] | None, plan: LoadPlan
) -> pl.DataFrame:
    """The open records of a raw batch (OPEN_SCHEMA, n) that this version has not judged yet."""
    rows = await connection.fetch(_OPEN, raw_batch, chosen, plan.transformation.id)
    return pl.DataFrame([tuple(row) for row in rows], schema=OPEN_SCHEMA, orient="row")


async def read_raw(connection: Connection, number: int) -> StoredRaw:
    """A raw batch as it was received, from what is stored of it."""
    row = await connection.fetchrow(
        "SELECT b.*, l.position FROM store.raw_batches b LEFT JOIN store.ledger l USING (batch) "
        "WHERE batch = $1",
        number,
    )
    assert row is not None  # noqa: S101 - a rejected record is committed with its bytes
    detail = json.loads(row["position"]) if row["position"] else None
    batch = RawBatch(
        dataset=row["dataset"],
        messages=unpack(row["messages"]),
        received_at=row["received_at"],
        received_until=row["received_until"],
        position=Position(source=detail.pop("source"), detail=detail) if detail else None,
        layout=layout_of(row["layout"]),
    )
    count = len(row["digests"]) // DIGEST_BYTES
    digests = [digest_at(row["digests"], sequence).hex() for sequence in range(count)]
    return StoredRaw(number, batch, pl.Series("digest", digests, dtype=pl.String))


def _with_bytes(records: pl.DataFrame, raw: StoredRaw) -> pl.DataFrame:
    """Without the records whose message was erased: nothing can be said of them any more."""
    there = raw.batch.messages["payload"].is_not_null()
    return records.filter(there.gather(records["sequence"]))


async def _refine(current: CurrentPipeline, raw: StoredRaw, records: pl.DataFrame) -> Refined:
    """Today's verdicts, with the sequences of the original batch; the transform's clock is the original's."""
    messages = raw.batch.messages
    if raw.batch.layout is not None or not current.alone:
        known = messages.with_columns(pl.col("payload").fill_null(b""))
        return await current.refine(replace(raw.batch, messages=known), current.reference)
    return await refine_some(current, raw.batch, records["sequence"].unique().sort())


async def refine_some(current: CurrentPipeline, batch: RawBatch, sequences: pl.Series) -> Refined:
    """Today's verdicts on some messages of a batch, each judged alone, with their sequences in the batch."""
    refined = await current.refine(replace(batch, messages=batch.messages[sequences]), current.reference)

    def original(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(sequences.gather(frame["sequence"]).alias("sequence"))

    return replace(
        refined,
        accepted={table: original(rows) for table, rows in refined.accepted.items()},
        rejected=original(refined.rejected),
    )


async def _commit(
    session: WriterSession,
    plan: LoadPlan,
    raw: StoredRaw,
    records: pl.DataFrame,
    refined: Refined,
    dry_run: bool,
) -> Receipt:
    commit = Commit(
        connection=session.connection,
        number=await session.connection.fetchval("SELECT nextval('store.batch_number')"),
        at=datetime.now(UTC),
        plan=plan,
        batch=replace(raw.batch, position=None),
        digests=raw.digests,
        raw_batch=raw.number,
    )
    transaction = session.connection.transaction()
    await transaction.start()  # a failure discards the connection, and the transaction with it
    settled = await store_accepted(commit, placed(commit, refined))
    verdicts = judge(records, refined, settled)
    settled = await write_verdicts(commit, verdicts, settled)
    books = await write_books(session, commit, Settled(settled, "replay"))
    if dry_run:
        await transaction.rollback()
    else:
        await transaction.commit()
        committed(session, commit, books)
    return books.receipt
