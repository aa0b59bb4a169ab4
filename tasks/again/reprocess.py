"""Reprocess: a raw batch runs again with today's code, and the rows that differ become new revisions.

    raw batch ─refine─▶ today's verdicts ─wanted─▶ ONE transaction: old rows to history, new rows, books

Every record of the batch is judged as if it came today, but those that wait or were dropped: they are a
replay's, or nobody's (`at_issue.py`). The old row moves to `NAME_history` with its batch. What is the same
stays as it is, so doing it again changes nothing; one that is killed leaves no trace. A row that today's code
makes no more is withdrawn: to history, its record rejected by today's rules, or filtered by today's steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from lineage.acts import REPROCESS, moved
from tasks.again.at_issue import places_of, refine_at_issue, waiting_or_dropped
from tasks.again.changes import Changes, Compared
from tasks.again.reread import CurrentPipeline, begin, end, raw_batch_lock
from tasks.again.wanted import Wanted, wanted
from tasks.batch import FILTERED_SCHEMA, ORIGIN_SCHEMA, PLACE_SCHEMA, Receipt, Refined
from tasks.contract import Contract, OnReturn
from tasks.load.commit import as_stored
from tasks.load.filtered import filtered_before
from tasks.load.plan import Commit
from tasks.load.prepare import in_key_order
from tasks.load.raw import StoredRaw, read_raw
from tasks.load.readers import reader_of
from tasks.load.reference import numbered_in_order
from tasks.load.rejected import insert_rejected
from tasks.load.row_id import ROW, without
from tasks.load.settle import Settled, store_accepted, without_stored_before, without_stored_rivals
from tasks.load.standing import STANDS, lock, move_to_history, standing_rows, taken, unjudged
from tasks.load.store import Store, WriterSession
from tasks.load.verdicts import reject_again

_NONE_FILTERED = FILTERED_SCHEMA.to_frame()
_KNOWN = """
SELECT EXISTS (SELECT FROM store.ledger WHERE (batch = $1 OR raw_batch = $1) AND transformation_id = $2)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reprocessed:
    """What became of one raw batch. `receipt` is None when nothing was to be written."""

    raw_batch: int
    changes: Mapping[str, Changes]  # table → what differs
    rejected: int = 0  # withdrawn rows whose records are rejected now
    filtered: int = 0  # withdrawn rows whose records are filtered now
    erased: int = 0  # messages that could not be read again
    receipt: Receipt | None = None


async def reprocess(
    store: Store, current: CurrentPipeline, raw_batch: int, *, dry_run: bool = False
) -> Reprocessed:
    """Run a raw batch again. A dry run rolls everything back. Call again after UnavailableError."""
    async with (
        store.work() as session,
        raw_batch_lock(session, raw_batch),
        numbered_in_order(session.connection, current.plan.contracts.values()),
    ):
        return await _reprocess(session, current, raw_batch, dry_run)


async def _reprocess(
    session: WriterSession, current: CurrentPipeline, raw_batch: int, dry_run: bool
) -> Reprocessed:
    raw = await read_raw(session.connection, raw_batch)
    readable = raw.batch.messages["payload"].is_not_null()
    erased = int((~readable).sum())
    if erased and not (current.row_local and raw.batch.layout is None and readable.any()):
        # Without one of its messages a batch that is read as a whole would lose rows that are right.
        return Reprocessed(raw_batch=raw_batch, changes={}, erased=erased)
    refined = await _today(session, current, raw, readable)
    await session.partitions.ensure_each(current.plan.contracts, refined.accepted)
    done = await _commit(session, current, raw, readable, refined, dry_run)
    return replace(done, erased=erased)


async def _today(
    session: WriterSession, current: CurrentPipeline, raw: StoredRaw, readable: pl.Series
) -> Refined:
    """What today's code makes of every record of the batch that is not a replay's; every table is there."""
    connection, contracts = session.connection, current.plan.contracts
    reader = await reader_of(connection, session.first_readers, current.plan, raw.batch.dataset)
    stood = [await standing_rows(connection, raw.number, contract) for contract in contracts.values()]
    standing = pl.concat([rows.filter(STANDS).select(ROW) for rows in stood])
    messages = pl.DataFrame({"sequence": readable.arg_true(), "part": None}, schema=PLACE_SCHEMA)
    whole = messages if raw.batch.layout is None else messages.clear()

    async def aside(refined: Refined) -> pl.DataFrame:
        return await waiting_or_dropped(connection, raw, reader, places_of(refined), standing)

    erased = pl.DataFrame({"sequence": (~readable).arg_true(), "part": None}, schema=PLACE_SCHEMA)
    aside_before = await waiting_or_dropped(connection, raw, reader, whole, standing)
    left_out = pl.concat([erased, aside_before]).unique()
    refined = await refine_at_issue(current, raw.batch, left_out, aside)
    none = {table: {**contract.row_schema, **ORIGIN_SCHEMA} for table, contract in contracts.items()}
    return replace(
        refined, accepted={**{t: pl.DataFrame(schema=s) for t, s in none.items()}, **refined.accepted}
    )


async def _commit(
    session: WriterSession,
    current: CurrentPipeline,
    raw: StoredRaw,
    readable: pl.Series,
    refined: Refined,
    dry_run: bool,
) -> Reprocessed:
    commit, transaction = await begin(session, current.plan, raw, refined)
    rows = as_stored(commit, in_key_order(commit.plan.contracts, refined))
    before = await filtered_before(commit, without(places_of(refined), refined.filtered_rows))
    want = wanted(commit.plan.contracts, await _standing(commit, readable), rows, before)
    settled = await _store(commit, want, before, rows.filtered_rows)
    changes = {table: _with_new(each, settled.accepted[table]) for table, each in want.tables.items()}
    known = await session.connection.fetchval(_KNOWN, raw.number, current.plan.transformation.id)
    if known and not settled.rejected.height and not any(each.any for each in changes.values()):
        await transaction.rollback()
        return Reprocessed(raw_batch=raw.number, changes=changes)
    gone = {table: await moved(commit.connection, table, commit.number, raw.number) for table in changes}
    books = Settled(settled, REPROCESS, moved=gone)
    receipt = await end(session, commit, transaction, books, dry_run=dry_run)
    return Reprocessed(
        raw_batch=raw.number,
        changes=changes,
        rejected=settled.rejected.height,
        filtered=int(_among(rows.filtered_rows, _withdrawn(want)).sum()),
        receipt=receipt,
    )


async def _standing(commit: Commit, readable: pl.Series) -> dict[str, pl.DataFrame]:
    """Table → its rows of this batch whose messages can still be read (`standing_schema`, n); locked."""
    standing = {}
    sequences = readable.arg_true().cast(pl.Int32).implode()
    in_message = pl.col("part").is_null() | (pl.col("part") >= 0)  # the others were concluded from it
    for table, contract in sorted(commit.plan.contracts.items()):
        await lock(commit.connection, contract)
        stood = await standing_rows(commit.connection, commit.raw_batch or 0, contract)
        standing[table] = stood.filter(pl.col("sequence").is_in(sequences) & in_message)
    return standing


def _with_new(compared: Compared, stored: pl.DataFrame) -> Changes:
    return replace(compared.changes, new=max(0, stored.height - compared.changed.height))


async def _store(commit: Commit, want: Wanted, before: pl.DataFrame, filtered: pl.DataFrame) -> Refined:
    """Move what is replaced, store what is new, and reject what today's rules refuse.

    `before`: the places of what was filtered, and is not today; `filtered`: what is today (FILTERED_SCHEMA).
    """
    accepted = {}
    for table, each in want.tables.items():
        contract = commit.plan.contracts[table]
        await move_to_history(commit, contract, each.gone)
        accepted[table] = pl.concat([each.changed, await _new(commit, contract, each, before)])
    same = sum(each.changes.unchanged for each in want.tables.values())
    again = _balanced(accepted, want.heard.clear(), same)
    stored = await store_accepted(commit, again)
    heard = await without_stored_rivals(commit, _balanced({}, want.heard, 0))
    unheard = await without_stored_before(commit, _balanced({}, want.unheard, 0))
    today = pl.concat([stored.rejected, heard.rejected, unheard.rejected])
    kept = pl.concat([await reject_again(commit, today), await insert_rejected(commit, today)])
    return _balanced(stored.accepted, kept, stored.duplicates, filtered)


def _balanced(
    accepted: Mapping[str, pl.DataFrame],
    rejected: pl.DataFrame,
    duplicates: int,
    filtered: pl.DataFrame = _NONE_FILTERED,
) -> Refined:
    return Refined(
        accepted=accepted,
        rejected=rejected,
        duplicates=duplicates,
        filtered=filtered.height,
        read=sum(map(len, accepted.values())) + rejected.height + duplicates + filtered.height,
        filtered_rows=filtered,
    )


async def _new(
    commit: Commit, contract: Contract, compared: Compared, filtered: pl.DataFrame
) -> pl.DataFrame:
    """Rows under new keys. One that moved, or was filtered, goes through in any case: it must not be lost.

    One whose record had no row said what another says; today it may say something else, but only where
    today's code has judged the other one too. Of a revision the newest sight stands, and it is left.
    """
    new = compared.new
    if new.is_empty():
        return new
    moved = _among(new, compared.withdrawn) | _among(new, filtered)
    others = new.filter(~moved)
    if contract.on_return is OnReturn.APPEND:
        held = await unjudged(commit, contract, others)
    else:
        held = await taken(commit.connection, contract, others)
    free = others.join(held, on=list(contract.key), how="anti", maintain_order="left")
    return pl.concat([new.filter(moved), free])


def _among(rows: pl.DataFrame, places: pl.DataFrame) -> pl.Series:
    """Which of these rows (Boolean, n) are made of the records at these places (with ROW, m)."""
    there = places.select(ROW).unique().with_columns(there=True)
    found = rows.select(ROW).join(there, on=ROW, how="left", nulls_equal=True, maintain_order="left")
    return found["there"].fill_null(False)


def _withdrawn(want: Wanted) -> pl.DataFrame:
    return pl.concat([each.withdrawn.select(ROW) for each in want.tables.values()])
