"""Replay: rejected records of one raw batch go through today's pipeline again.

    raw batch (as stored) ─refine─▶ only what was rejected ─▶ ONE transaction: rows, verdicts, ledger, lineage

A verdict depends on the record, today's code and the reference tables that it looks values up in, and on
whether its key is free. So the version of a transformation that judged a record last judges it again only
where one of those tables changed, or its key was taken, and writes nothing if it still is: replaying again
changes nothing. Two replays of one raw batch wait for each other; one that is killed leaves no trace.
"""

import json
from collections.abc import Sequence

import polars as pl

from infra.postgres import Connection
from lineage import query_files
from tasks.again.at_issue import places_of, refine_at_issue
from tasks.again.reread import LOCK, CurrentPipeline, begin, end, raw_batch_lock
from tasks.batch import PLACE_SCHEMA, Receipt, Refined
from tasks.layout import without_places
from tasks.load.commit import as_stored
from tasks.load.plan import Commit
from tasks.load.prepare import in_key_order
from tasks.load.raw import StoredRaw, read_raw
from tasks.load.reference import numbered_in_order
from tasks.load.row_id import ROW
from tasks.load.settle import Settled, store_accepted, without_stored_rivals
from tasks.load.store import Store, WriterSession
from tasks.load.verdicts import OPEN_SCHEMA, at_issue, judge, unseen, write_verdicts

DROPPING = (LOCK, -1)  # shared by replays, held alone by a drop
_OPEN = query_files.read(__package__, "open_rejected.sql")


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
        await session.connection.execute("SELECT pg_advisory_lock_shared($1, $2)", *DROPPING)
        async with (
            raw_batch_lock(session, raw_batch),
            numbered_in_order(session.connection, current.plan.contracts.values()),
        ):
            receipt = await _replay(session, current, raw_batch, chosen, dry_run)
        await session.connection.execute("SELECT pg_advisory_unlock_shared($1, $2)", *DROPPING)
        return receipt


async def _replay(
    session: WriterSession,
    current: CurrentPipeline,
    raw_batch: int,
    chosen: Sequence[bytes] | None,
    dry_run: bool,
) -> Receipt | None:
    wanted = chosen if current.row_local else None
    records = await _open(session.connection, raw_batch, wanted, current)
    if records.is_empty():
        return None
    raw = await read_raw(session.connection, raw_batch)
    records = _with_bytes(records, raw)
    if records.is_empty():
        return None
    refined = await _refine(current, raw, records)
    await session.partitions.ensure_each(current.plan.contracts, refined.accepted)
    return await _commit(session, current, raw, records, refined, dry_run)


async def _open(
    connection: Connection, raw_batch: int, chosen: Sequence[bytes] | None, current: CurrentPipeline
) -> pl.DataFrame:
    """The open records of a raw batch (OPEN_SCHEMA, n) that this version has not judged yet."""
    datasets = set[str]().union(*current.plan.deciding.values())
    looked_up = {
        name: said for name, said in current.looked_up(current.reference).items() if name in datasets
    }
    rows = await connection.fetch(
        _OPEN, raw_batch, chosen, current.plan.transformation.id, json.dumps(looked_up)
    )
    return pl.DataFrame([tuple(row) for row in rows], schema=OPEN_SCHEMA, orient="row")


def _with_bytes(records: pl.DataFrame, raw: StoredRaw) -> pl.DataFrame:
    """Without the records whose message was erased: nothing can be said of them any more."""
    there = raw.batch.messages["payload"].is_not_null()
    return records.filter(there.gather(records["sequence"]))


async def _refine(current: CurrentPipeline, raw: StoredRaw, records: pl.DataFrame) -> Refined:
    """Today's verdicts, with the sequences of the original batch; the transform's clock is the original's."""

    async def aside(refined: Refined) -> pl.DataFrame:
        """Rows of records that are not at issue."""
        concerned = places_of(at_issue(refined, records))
        rows = pl.concat([each.select(ROW) for each in refined.accepted.values()])
        return without_places(rows, concerned)

    every = pl.int_range(raw.batch.messages.height, dtype=pl.Int32, eager=True)
    others = every.filter(~every.is_in(records["sequence"].implode()))
    alone = current.row_local and raw.batch.layout is None
    left_out = pl.DataFrame({"sequence": others if alone else [], "part": None}, schema=PLACE_SCHEMA)
    return at_issue(await refine_at_issue(current, raw.batch, left_out, aside), records)


async def _commit(
    session: WriterSession,
    current: CurrentPipeline,
    raw: StoredRaw,
    records: pl.DataFrame,
    refined: Refined,
    dry_run: bool,
) -> Receipt | None:
    commit, transaction = await begin(session, current.plan, raw, refined)
    refined, settled = await _store(commit, current, raw, records, refined)
    verdicts = judge(records, refined, settled)
    if not verdicts.records and verdicts.fresh.is_empty():
        await transaction.rollback()
        return None
    settled = await write_verdicts(commit, verdicts, settled)
    return await end(session, commit, transaction, Settled(settled, "replay"), dry_run=dry_run)


async def _store(
    commit: Commit, current: CurrentPipeline, raw: StoredRaw, records: pl.DataFrame, refined: Refined
) -> tuple[Refined, Refined]:
    """What today's code makes of the records (OPEN_SCHEMA, n), and what became of it.

    One that says the same as another whose key turns out to be taken is in conflict too: it is judged alone.
    """
    rows = as_stored(commit, in_key_order(commit.plan.contracts, refined))
    stored = await store_accepted(commit, rows)
    settled = await without_stored_rivals(commit, stored)
    left = unseen(records, refined)
    if stored.rejected.height == refined.rejected.height or left.height in (0, records.height):
        return refined, settled
    again, then = await _store(commit, current, raw, left, await _refine(current, raw, left))
    return _together(refined, again), _together(settled, then)


def _together(one: Refined, other: Refined) -> Refined:
    tables = one.accepted.keys() | other.accepted.keys()
    return Refined(
        accepted={
            table: pl.concat([each.accepted[table] for each in (one, other) if table in each.accepted])
            for table in sorted(tables)
        },
        rejected=pl.concat([one.rejected, other.rejected]),
        duplicates=one.duplicates + other.duplicates,
        filtered=one.filtered + other.filtered,
        read=one.read + other.read,
        filtered_rows=pl.concat([one.filtered_rows, other.filtered_rows]),
    )
