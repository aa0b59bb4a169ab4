"""Refreshes a derived table: the buckets that changed, recomputed as a whole, and nothing else.

A commit leaves change marks in its own transaction. A refresh takes those it sees, and computes their buckets
from the same snapshot, so that the edges name every batch a bucket was made from. A mark that is committed
later stays for the next refresh, whatever its id: ids are given before commits are, so "every id up to the
highest" would lose it. A refresh is a commit like any other: it marks for those made from its own table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import polars as pl

from lineage import naming, query_files
from lineage.append import NextBatch, next_batch
from lineage.bucket import Bucket
from lineage.errors import ContractError
from lineage.identifiers import listed, quoted, stored_table
from lineage.log import Span
from lineage.model import Edge, Node, RelationshipType, Run, Transformation, batch_node, bucket_node
from lineage.row_digest import GROUP, VERSION, Rows, columns_id, feed
from lineage.transformations import Introduction, introduce
from tasks.contract import UTC_MICROS, Contract
from tasks.derived.aggregate import Aggregate
from tasks.derived.mark_readers import hold
from tasks.load import edges
from tasks.load.change_marks import Mark, mark_times, take, waiting
from tasks.load.row_digests import digest_of
from tasks.load.store import Store, WriterSession
from tasks.tables.tables import carried, digested_columns, has_history

AT_A_TIME: Final[Mapping[Bucket, int]] = {
    Bucket.MINUTE: 240,
    Bucket.FIVE_MINUTES: 240,
    Bucket.QUARTER: 192,
    Bucket.HOUR: 48,
    Bucket.DAY: 4,
    Bucket.MONTH: 1,
}
"""Buckets per transaction."""
WAY = "refresh"
"""What the ledger's `way` says of a refresh: it has no source outside, no raw batch and no rejected rows."""

_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
_LEDGER = query_files.read(__package__, "book_refresh.sql")
_OUTPUT = """
INSERT INTO store.ledger_outputs
    (batch, table_name, bucket, rows, digest, columns)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_STORE = query_files.read(__package__, "store_bucket.sql")


# Which buckets of a derived table these batches of it made, within a span.
_MADE = """
SELECT batch, bucket FROM store.ledger_outputs
WHERE table_name = $1 AND batch = ANY($2::bigint[]) AND bucket >= $3 AND bucket < $4
"""


class Output(NamedTuple):
    """What one bucket became: its rows, and their digest."""

    bucket: datetime
    rows: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh did; nothing of it when no bucket had changed."""

    table: str
    batches: tuple[int, ...] = ()  # the ledger's numbers, one per transaction
    buckets: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refresh:
    """What every write of one refresh shares."""

    aggregate: Aggregate
    transformation: Transformation
    run: Run


async def refresh(
    store: Store,
    aggregate: Aggregate,
    run: Run,
    *,
    buckets_per_transaction: int | None = None,
) -> Refreshed:
    """Recompute every bucket of the aggregate that has a change mark, each at most once, oldest first.

    It must be registered (`mark_readers.register`): what is not told of changes has no marks. Some buckets
    (AT_A_TIME) are one transaction and one batch of the ledger: dataset = the first source table, read =
    accepted = the rows produced, and one output per bucket, also for one that has no rows left.
    Raises UnavailableError; call it again then: marks and rows are one transaction, so whatever was committed
    is not done twice, also when the answer to COMMIT was lost.
    """
    at_a_time = buckets_per_transaction or AT_A_TIME[aggregate.bucket]
    work = _Refresh(aggregate=aggregate, transformation=aggregate.transformation(), run=run)
    done, after = Refreshed(table=aggregate.table), _BEFORE_ALL
    while True:
        async with store.work() as session:
            # forward only, so that a sweep ends while others write
            buckets = await waiting(session.connection, aggregate.table, after, at_a_time)
            if not buckets:
                return done
            done = await _refresh_buckets(session, work, buckets, done)
            after = buckets[-1]


async def _refresh_buckets(
    session: WriterSession, work: _Refresh, buckets: Sequence[datetime], done: Refreshed
) -> Refreshed:
    """One transaction; one refresh of an aggregate at a time, so that numbers order them as they commit."""
    aggregate, connection = work.aggregate, session.connection
    await session.partitions.ensure(aggregate.contract, pl.Series(buckets, dtype=UTC_MICROS))
    # Not a transaction's lock: the snapshot would be taken before the wait for the lock was over.
    lock = f"refresh {aggregate.table}"
    await connection.execute("SELECT pg_advisory_lock(hashtext($1))", lock)
    span, outputs = None, []
    async with connection.transaction(isolation="repeatable_read"):
        await hold(connection, aggregate.table)  # before the snapshot, so that it sees who is told of it
        batch = await next_batch(connection)  # within the snapshot, so above all that is seen
        marks = await take(connection, aggregate.table, buckets)
        if marks:
            for bucket in sorted({mark.bucket for mark in marks}):
                outputs.append(await _recompute(session, work, batch, bucket))
            made = [output.bucket for output in outputs]
            await mark_times(connection, aggregate.table, made, [batch.number] * len(made))
            span = await _write_lineage(session, work, batch, marks)
            await _write_ledger(session, work, batch, outputs, span)
    if span is not None:
        session.writer.committed(span)
        session.announced.add((work.transformation.id, work.run.id))
    await connection.execute("SELECT pg_advisory_unlock(hashtext($1))", lock)
    return _and(done, batch.number, outputs)


def _and(done: Refreshed, number: int, outputs: Sequence[Output]) -> Refreshed:
    if not outputs:  # another refresh was faster
        return done
    return Refreshed(
        table=done.table,
        batches=(*done.batches, number),
        buckets=done.buckets + len(outputs),
        rows=done.rows + sum(output.rows for output in outputs),
    )


async def _recompute(session: WriterSession, work: _Refresh, batch: NextBatch, start: datetime) -> Output:
    """Replace one bucket's rows. The digest is of the rows as they are stored, not as they were computed."""
    connection, contract = session.connection, work.aggregate.contract
    end = work.aggregate.bucket.end(start)
    table, time = stored_table(contract.table), quoted(contract.time_column)
    await connection.execute(f"DELETE FROM {table} WHERE {time} >= $1 AND {time} < $2", start, end)
    query = _STORE.format(
        table=table,
        columns=listed(contract.names),
        sql=work.aggregate.sql,
        key=listed(contract.key),
        time=time,
    )
    made = await connection.fetchrow(query, start, end, batch.at, batch.number)
    assert made is not None  # noqa: S101 - an aggregate query gives one row
    if not made["within"]:
        raise ContractError(
            f"{contract.table}.sql gives rows outside the {work.aggregate.bucket} it is asked for"
        )
    return Output(start, made["rows"], await _digest(session, contract, start, end))


async def _digest(session: WriterSession, contract: Contract, start: datetime, end: datetime) -> bytes:
    """The digest of a bucket as it is stored."""
    columns = {**contract.row_schema, **carried(contract)}
    time = quoted(contract.time_column)
    relation = (
        f"SELECT 0 AS {quoted(GROUP)}, {listed(columns)} FROM {stored_table(contract.table)} "
        f"WHERE {time} >= $1 AND {time} < $2"
    )
    key = {name: columns[name] for name in contract.key}
    digest = digest_of(session.keys.current, contract, start)
    await feed(session.connection, Rows(relation, [start, end], columns, key), {0: digest})
    return digest.digest()


async def _write_lineage(
    session: WriterSession, work: _Refresh, batch: NextBatch, marks: Sequence[Mark]
) -> Span:
    """An edge from each batch to each bucket it changed, never to each device in it."""
    target = naming.postgres(work.aggregate.table)
    entries = [
        Edge(
            relationship_type=RelationshipType.FEEDS,
            source=source,
            target=bucket_node(target, start, work.aggregate.bucket),
            created_at=batch.at,
            transformation_id=work.transformation.id,
            run_id=work.run.id,
        )
        for source, start in await _feeding(session, work.aggregate, marks)
    ]
    if (work.transformation.id, work.run.id) not in session.announced:
        what = Introduction(
            transformation=work.transformation, source="", columns={target: work.aggregate.columns()}
        )
        new = await introduce(session.connection, what, batch=batch.number, run_id=work.run.id)
        entries = [edges.of_announcement(work.run, work.transformation, batch.at), *new, *entries]
    return await session.writer.append(session.connection, batch.number, entries)


async def _feeding(
    session: WriterSession, aggregate: Aggregate, marks: Sequence[Mark]
) -> list[tuple[Node, datetime]]:
    """What fed which bucket, by the marks; of a derived table its buckets did, whichever batch made them."""
    found: list[tuple[Node, datetime]] = []
    for table, contract in aggregate.made_from.items():
        changed = sorted({(mark.bucket, mark.batch) for mark in marks if mark.table == table})
        uri = naming.postgres(table)
        if has_history(contract):
            found += [(batch_node(uri, batch), bucket) for bucket, batch in changed]
        elif changed:
            starts = await _made_again(session, aggregate, table, changed)
            found += [
                (bucket_node(uri, each, contract.made_by), aggregate.bucket.start(each)) for each in starts
            ]
    return found


async def _made_again(
    session: WriterSession, aggregate: Aggregate, table: str, changed: Sequence[tuple[datetime, int]]
) -> list[datetime]:
    """The buckets of a derived table that its batches made, each in the bucket that it is marked for."""
    span = changed[0][0], aggregate.bucket.end(changed[-1][0])
    batches = sorted({batch for _, batch in changed})
    rows = await session.connection.fetch(_MADE, table, batches, *span)
    wanted = set(changed)
    return sorted(
        {row["bucket"] for row in rows if (aggregate.bucket.start(row["bucket"]), row["batch"]) in wanted}
    )


async def _write_ledger(
    session: WriterSession, work: _Refresh, batch: NextBatch, outputs: Sequence[Output], span: Span
) -> None:
    """The books of a refresh: what it read is what it produced, and all of it is accepted."""
    await session.connection.execute(
        _LEDGER,
        batch.number,
        naming.postgres(work.aggregate.sources[0]),
        batch.at,
        sum(output.rows for output in outputs),
        WAY,
        work.transformation.id,
        work.run.id,
        span.writer,
        span.first,
        span.last,
        span.head,
        VERSION,
        session.keys.name,
    )
    columns = columns_id(digested_columns(work.aggregate.contract))
    rows = [(batch.number, work.aggregate.table, *output, columns) for output in outputs]
    await session.connection.executemany(_OUTPUT, rows)
