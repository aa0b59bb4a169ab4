"""Reprocess: a raw batch runs again with today's code, and the rows that differ become new revisions.

    raw batch ─refine─▶ today's rows ─compare─▶ ONE transaction: old rows to history, new rows, books

The old row moves to `NAME_history` with its batch. What is the same stays as it is, so doing it again changes
nothing; one that is killed leaves no trace. A row that today's code makes no more is withdrawn: to history,
its record rejected by today's rules. A record that was rejected before is not judged here: that is a
replay's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from lineage.acts import REPROCESS, moved
from tasks.batch import Receipt, Refined
from tasks.contract import Contract
from tasks.load.changes import Changes, Compared, compare
from tasks.load.commit import as_stored
from tasks.load.plan import Commit
from tasks.load.prepare import in_key_order
from tasks.load.raw import StoredRaw, read_raw
from tasks.load.rejected import identities, insert_rejected, rejected_among
from tasks.load.reread import CurrentPipeline, begin, end, raw_batch_lock, refine_some
from tasks.load.row_id import ROW
from tasks.load.settle import Settled, store_accepted
from tasks.load.standing import lock, move_to_history, standing_rows, taken
from tasks.load.store import Store, WriterSession
from tasks.load.verdicts import reject_again

_KNOWN = """
SELECT EXISTS (SELECT FROM store.ledger WHERE (batch = $1 OR raw_batch = $1) AND transformation_id = $2)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reprocessed:
    """What became of one raw batch. `receipt` is None when nothing was to be written."""

    raw_batch: int
    changes: Mapping[str, Changes]  # table → what differs
    rejected: int = 0  # withdrawn rows whose records are rejected now
    erased: int = 0  # messages that could not be read again
    receipt: Receipt | None = None


async def reprocess(
    store: Store, current: CurrentPipeline, raw_batch: int, *, dry_run: bool = False
) -> Reprocessed:
    """Run a raw batch again. A dry run rolls everything back. Call again after UnavailableError."""
    async with store.work() as session, raw_batch_lock(session, raw_batch):
        return await _reprocess(session, current, raw_batch, dry_run)


async def _reprocess(
    session: WriterSession, current: CurrentPipeline, raw_batch: int, dry_run: bool
) -> Reprocessed:
    raw = await read_raw(session.connection, raw_batch)
    kept = raw.batch.messages["payload"].is_not_null()
    erased = int((~kept).sum())
    if erased and not (current.row_local and kept.any()):
        # Without one of its messages a batch that is read as a whole would lose rows that are right.
        return Reprocessed(raw_batch=raw_batch, changes={}, erased=erased)
    sequences = kept.arg_true().cast(pl.Int32)
    refined = await (
        refine_some(current, raw.batch, sequences)
        if current.row_local
        else current.refine(raw.batch, current.reference)
    )
    await session.partitions.ensure_each(current.plan.contracts, refined.accepted)
    done = await _commit(session, current, raw, sequences, refined, dry_run)
    return replace(done, erased=erased)


async def _commit(
    session: WriterSession,
    current: CurrentPipeline,
    raw: StoredRaw,
    sequences: pl.Series,
    refined: Refined,
    dry_run: bool,
) -> Reprocessed:
    commit, transaction = await begin(session, current.plan, raw)
    rows = as_stored(commit, in_key_order(commit.plan.contracts, refined))
    compared = await _compare(commit, sequences, rows)
    changes = {table: each.changes for table, each in compared.items()}
    known = await session.connection.fetchval(_KNOWN, raw.number, current.plan.transformation.id)
    if known and not any(each.any for each in changes.values()):
        await transaction.rollback()
        return Reprocessed(raw_batch=raw.number, changes=changes)
    settled = await _store(commit, compared, refined.rejected)
    gone = {table: await moved(commit.connection, table, commit.number, raw.number) for table in compared}
    books = Settled(settled, REPROCESS, moved=gone)
    receipt = await end(session, commit, transaction, books, dry_run=dry_run)
    return Reprocessed(
        raw_batch=raw.number,
        changes=changes,
        rejected=settled.rejected.height,
        receipt=receipt,
    )


async def _compare(commit: Commit, sequences: pl.Series, today: Refined) -> dict[str, Compared]:
    """What differs of each table, from the messages that can still be read."""
    compared = {}
    for table in sorted(today.accepted):
        contract, rows = commit.plan.contracts[table], today.accepted[table]
        await lock(commit.connection, contract)
        stood = await standing_rows(commit, contract)
        in_message = pl.col("part").is_null() | (pl.col("part") >= 0)  # the others were concluded from it
        stood = stood.filter(pl.col("sequence").is_in(sequences.implode()) & in_message)
        each = compare(stood, rows, contract)
        new = await _judged_here(commit, contract, each)
        changes = replace(each.changes, new=new.height)
        compared[table] = replace(each, new=new, changes=changes)
    return compared


async def _judged_here(commit: Commit, contract: Contract, compared: Compared) -> pl.DataFrame:
    """Rows under new keys that no other batch has, of records that stood or were not rejected before."""
    new = compared.new
    if new.is_empty():
        return new
    moved = _among(new, compared.withdrawn)
    ids = identities(commit, new)
    rejected = await rejected_among(commit.connection, ids)
    free = new.filter(moved | ~ids.is_in(rejected.implode()))
    others = await taken(commit.connection, contract, free)
    return free.join(others, on=list(contract.key), how="anti", maintain_order="left")


def _among(new: pl.DataFrame, withdrawn: pl.DataFrame) -> pl.Series:
    """Which of these rows (Boolean, n) are made of the same as a withdrawn one: its key is another now."""
    stood = withdrawn.select(ROW).unique().with_columns(stood=True)
    found = new.select(ROW).join(stood, on=ROW, how="left", nulls_equal=True, maintain_order="left")
    return found["stood"].fill_null(False)


async def _store(commit: Commit, compared: Mapping[str, Compared], rejected: pl.DataFrame) -> Refined:
    """Move what is replaced, store what is new, and reject the records of what was withdrawn."""
    for table, each in compared.items():
        await move_to_history(commit, commit.plan.contracts[table], each.gone)
    accepted = {table: pl.concat([each.changed, each.new]) for table, each in compared.items()}
    same = sum(each.changes.unchanged for each in compared.values())
    again = Refined(
        accepted=accepted,
        rejected=rejected.clear(),
        duplicates=same,
        filtered=0,
        read=same + sum(rows.height for rows in accepted.values()),
    )
    stored = await store_accepted(commit, again)
    withdrawn = pl.concat([each.withdrawn.select(ROW) for each in compared.values()])
    today = pl.concat([stored.rejected, _of(rejected, withdrawn)])
    kept = pl.concat([await reject_again(commit, today), await insert_rejected(commit, today)])
    settled = replace(stored, rejected=stored.rejected.clear(), read=stored.read - stored.rejected.height)
    return replace(settled, rejected=kept, read=settled.read + kept.height)


def _of(rejected: pl.DataFrame, withdrawn: pl.DataFrame) -> pl.DataFrame:
    """Today's rejections of withdrawn rows (ROW, n); one without a part speaks for its whole message."""
    own = rejected.join(withdrawn, on=ROW, how="semi", nulls_equal=True)
    whole = rejected.filter(pl.col("part").is_null()).join(withdrawn, on="sequence", how="semi")
    return pl.concat([own, whole]).unique(ROW, maintain_order=True)
