"""The commit: raw, curated, rejected, ledger and lineage of one batch in one Postgres transaction.

Fast by default: the rows are copied straight into their keyed tables. A batch that meets a key that is
there, or a record rejected before, is rolled back and takes the staging way (`settle.py`); one that may have
been delivered before is first rid of what was judged otherwise then, and is copied where a few of its keys
are all new.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import polars as pl

from infra.postgres import UniqueViolation, copy_frame, met_another
from lineage import naming
from lineage.append import next_batch
from lineage.filtered import Told
from lineage.log import Span, await_end_of
from lineage.model import Edge
from lineage.transformations import Introduction, introduce
from tasks.batch import Receipt, Refined
from tasks.contract import Contract, OnReturn, time_literal
from tasks.load import edges, progress
from tasks.load.change_marks import mark_rows
from tasks.load.filtered import insert_filtered, without_filtered_before
from tasks.load.former import former_of
from tasks.load.ledger import receipt_by_position, receipt_of, write_ledger
from tasks.load.plan import Commit, LoadPlan
from tasks.load.prepare import Prepared, Tried
from tasks.load.raw import write_raw
from tasks.load.readers import reader_of
from tasks.load.reference import numbered_in_order
from tasks.load.rejected import ANYTHING, copy_rejected, passing
from tasks.load.row_digests import digest_of
from tasks.load.settle import (
    Settled,
    looks_stored,
    rejected_before,
    settle,
    without_judged_before,
    without_stored_before,
)
from tasks.load.store import Store, WriterSession
from tasks.tables.tables import digested_columns

StoreRows: TypeAlias = Callable[[Commit, Refined], Awaitable[Settled]]


@dataclass(frozen=True, slots=True)
class Written:
    """What a commit wrote about itself, and what the store may remember once it is committed."""

    receipt: Receipt
    span: Span
    new: list[edges.Subject]


async def load(store: Store, plan: LoadPlan, prepared: Prepared) -> Receipt:
    """Commit a batch, or find that it is committed.

    After UnavailableError call again with the same `prepared`.
    """
    async with (
        store.work() as session,
        numbered_in_order(session.connection, plan.contracts.values()),
    ):
        done = await _committed_before(session, plan, prepared)
        return done or await _commit_once(session, plan, prepared)


async def _committed_before(session: WriterSession, plan: LoadPlan, prepared: Prepared) -> Receipt | None:
    """The receipt of an earlier try whose answer was lost, or of a position committed before."""
    if prepared.tried is not None:
        if prepared.tried.writer is not session.writer:
            await await_end_of(session.connection, prepared.tried.writer)
        done = await receipt_of(session.connection, prepared)
        if done is not None:
            return done
    position_id = plan.position_id(prepared.batch)
    done = await receipt_by_position(session.connection, position_id) if position_id else None
    if done is not None:  # its mark was set back, or deleted, to read anew
        for at in prepared.batch.progress:
            await progress.move(session.connection, plan.pipeline, prepared.batch.dataset, at)
    return done


async def _commit_once(session: WriterSession, plan: LoadPlan, prepared: Prepared) -> Receipt:
    """Commit; when somebody else commits the same position at the same time, theirs is the receipt."""
    try:
        return await _commit(session, plan, prepared)
    except UniqueViolation as error:
        done = await _committed_before(session, plan, prepared)
        if done is None:
            raise met_another(error) from error
        return done


async def _commit(session: WriterSession, plan: LoadPlan, prepared: Prepared) -> Receipt:
    await session.partitions.ensure_each(plan.contracts, prepared.refined.accepted)
    dataset = prepared.batch.dataset
    number, at = await next_batch(session.connection)
    commit = Commit(
        connection=session.connection,
        number=number,
        at=at,
        plan=plan,
        keys=session.keys,
        batch=prepared.batch,
        digests=prepared.raw.digests,
        raw_digest=prepared.raw.digest,
        reader=await reader_of(session.connection, session.first_readers, plan, dataset, brings=True),
        looked_up=prepared.refined.looked_up,
    )
    try:
        written = await _write(session, commit, prepared, _store_rows)
    except UniqueViolation:  # a key or a rejected record is there already: the staging way tells which
        written = await _write(session, commit, prepared, _settle)
    remember(session, commit, written)
    return written.receipt


async def _write(
    session: WriterSession, commit: Commit, prepared: Prepared, store_rows: StoreRows
) -> Written:
    """The transaction."""
    async with session.connection.transaction():
        await progress.advance(commit)
        settled = await store_rows(commit, as_stored(commit, prepared.refined))
        await write_raw(commit, prepared.raw)
        written = await write_books(session, commit, settled)
        prepared.tried = Tried(number=commit.number, writer=session.writer, head=written.span.head)
        return written


async def write_books(session: WriterSession, commit: Commit, settled: Settled) -> Written:
    """Everything of a commit but its rows and bytes: marks, filtered records, subjects, lineage, ledger."""
    for table, rows in settled.refined.accepted.items():
        await mark_rows(commit.connection, commit.plan.contracts[table], rows)
    filtered = await insert_filtered(commit, settled.refined.filtered_rows)
    new = await _new_subjects(commit, settled.refined, session.known_subjects)
    span = await _write_lineage(session, commit, settled, filtered, new)
    return Written(await write_ledger(commit, settled, span), span, new)


def remember(session: WriterSession, commit: Commit, written: Written) -> None:
    """Once its transaction is committed: what this writer need not say or ask again."""
    session.writer.committed(written.span)
    session.known_subjects.update(written.new)
    session.announced.add((commit.plan.transformation.id, commit.plan.run.id))


def as_stored(commit: Commit, refined: Refined) -> Refined:
    """The accepted rows with the columns of their stored tables."""
    contracts = commit.plan.contracts
    stored = {table: _with_origin(commit, contracts[table], rows) for table, rows in refined.accepted.items()}
    return replace(refined, accepted=stored)


def _with_origin(commit: Commit, contract: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_columns(processed_at=commit.now, batch=pl.lit(commit.number, dtype=pl.Int64))
    rows = rows.with_columns(raw_batch=pl.lit(commit.raw_batch, dtype=pl.Int64))
    if contract.on_return is OnReturn.REVISE:
        rows = rows.with_columns(observed_at=time_literal(commit.batch.received_at))
    return rows.select(digested_columns(contract))


async def _store_rows(commit: Commit, refined: Refined) -> Settled:
    """Copy the rows, unless that looks to be in vain; a key that is there is a unique violation."""
    if _comes_again(commit, refined):
        refined = await _without_any_before(commit, refined)
        if _revises(commit, refined) or await looks_stored(commit, refined):
            return await settle(commit, refined)
    else:
        refined = await without_stored_before(commit, refined)
        if await rejected_before(commit, refined):
            return await _settle(commit, refined)
    digests = {
        table: await _copy(commit, table, refined.accepted[table]) for table in sorted(refined.accepted)
    }
    return Settled(refined, "fast", digests, await copy_rejected(commit, refined.rejected))


async def _settle(commit: Commit, refined: Refined) -> Settled:
    if _comes_again(commit, refined):
        return await settle(commit, await _without_any_before(commit, refined))
    return await settle(commit, await without_judged_before(commit, refined, passing(commit.plan)))


async def _without_any_before(commit: Commit, refined: Refined) -> Refined:
    """What was rejected or filtered before, for whatever reason, stays so."""
    return await without_filtered_before(commit, await without_judged_before(commit, refined, ANYTHING))


def _comes_again(commit: Commit, refined: Refined) -> bool:
    """Whether some of it may have been judged before; a message that is sent anew is another one."""
    return commit.batch.may_repeat or _revises(commit, refined)


def _revises(commit: Commit, refined: Refined) -> bool:
    return any(commit.plan.contracts[table].on_return is OnReturn.REVISE for table in refined.accepted)


async def _copy(commit: Commit, table: str, rows: pl.DataFrame) -> bytes:
    """Copy rows that are in the order of their key; returns their digest."""
    digest = digest_of(commit.keys.current, commit.plan.contracts[table])
    await copy_frame(commit.connection, rows, table, seen=digest.update)
    return digest.digest()


async def _new_subjects(commit: Commit, refined: Refined, known: set[edges.Subject]) -> list[edges.Subject]:
    """What the rows are about or used and no commit has named yet; in a fixed order against deadlocks."""
    seen: set[edges.Subject] = set()
    for table, (kind, column) in commit.plan.subjects.items():
        if table in refined.accepted:
            uri = naming.postgres(table)
            named = refined.accepted[table][column].drop_nulls().unique()
            seen.update((kind, identity, uri) for identity in named)
            seen.update(edges.used(commit.plan, table, refined.accepted[table]))
    unknown = sorted(seen - known)
    if not unknown:
        return []
    rows = await commit.connection.fetch(
        "INSERT INTO store.subjects (kind, id, dataset) "
        "SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING "
        "RETURNING kind, id, dataset",
        *([subject[i] for subject in unknown] for i in range(3)),
    )
    return [(row["kind"], row["id"], row["dataset"]) for row in rows]


async def _write_lineage(
    session: WriterSession,
    commit: Commit,
    settled: Settled,
    filtered: Told | None,
    new: list[edges.Subject],
) -> Span:
    source, refined = commit.batch.dataset, settled.refined
    rejected = refined.rejected.height
    stored = edges.Stored(
        source=source,
        accepted=refined.accepted,
        rejected=rejected,
        filtered=filtered,
        moved=settled.moved,
    )
    if commit.raw_batch is None:
        entries = edges.of_commit(commit.number, commit.batch, commit.plan, stored, new, commit.at)
    else:
        entries = edges.of_replay(commit.number, commit.raw_batch, commit.plan, stored, new, commit.at)
    announced = (commit.plan.transformation.id, commit.plan.run.id) in session.announced
    if not (entries and announced):  # seals go by entries: every commit has one
        entries = [*await _introduced(commit), *entries]
    return await session.writer.append(commit.connection, commit.number, entries)


async def _introduced(commit: Commit) -> list[Edge]:
    """A writer's first commit for a run says who runs what, and what is new about that transformation."""
    plan = commit.plan
    columns = {naming.postgres(table): found for table, found in plan.columns(commit.batch.dataset).items()}
    what = Introduction(
        transformation=plan.transformation,
        source=commit.batch.dataset,
        columns=columns,
        former=partial(former_of, pipeline=plan.pipeline),
    )
    new = await introduce(commit.connection, what, batch=commit.number, run_id=plan.run.id)
    return [edges.of_announcement(plan.run, plan.transformation, commit.at), *new]
