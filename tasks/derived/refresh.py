"""Refreshes an aggregate: the hours that changed, recomputed as a whole, and nothing else.

A commit leaves a change mark per (batch, hour) in its own transaction. A refresh takes the marks it sees, by
their ids, and computes their hours from the same snapshot, so that the edges name every batch an hour was
made from. A mark that is committed later stays for the next refresh, whatever its id: ids are given before
commits are, so "every id up to the highest" would lose it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl

from lineage import naming
from lineage.append import NextBatch, next_batch
from lineage.errors import ContractError
from lineage.identifiers import listed, quoted, stored_table
from lineage.log import Span
from lineage.model import Edge, RelationshipType, Run, Transformation, batch_node, bucket_node
from lineage.row_digest import GROUP, VERSION, Rows, columns_id, feed
from lineage.transformations import Introduction, introduce
from tasks.contract import UTC_MICROS, Contract
from tasks.derived.aggregate import Aggregate
from tasks.load import edges
from tasks.load.change_marks import Mark, take, waiting
from tasks.load.row_digests import digest_of
from tasks.load.store import Store, WriterSession
from tasks.tables.tables import carried, digested_columns

HOUR = timedelta(hours=1)
HOURS_PER_TRANSACTION = 48
WAY = "refresh"
"""What the ledger's `way` says of a refresh: it has no source outside, no raw batch and no rejected rows."""

_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
_LEDGER = """
INSERT INTO store.ledger (
    batch, dataset, received_at, received_until, processed_at, read, accepted, rejected, duplicates, filtered,
    way, transformation_id, run_id, writer, first_entry, last_entry, chain_head,
    digest_version, digest_key
) VALUES ($1, $2, $3, $3, $3, $4, $4, 0, 0, 0, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
_OUTPUT = """
INSERT INTO store.ledger_outputs
    (batch, table_name, bucket, rows, digest, columns)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_STORE = """
WITH made AS (
    INSERT INTO {table} ({columns}, processed_at, batch)
    SELECT {columns}, $3::timestamptz, $4::bigint FROM (
{sql}
) AS computed ORDER BY {key} RETURNING {time} AS "its time"
)
SELECT count(*) AS rows, coalesce(bool_and("its time" >= $1 AND "its time" < $2), true) AS within FROM made
"""


class Output(NamedTuple):
    """What one hour became: its rows, and their digest."""

    hour: datetime
    rows: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh did; nothing of it when no hour had changed."""

    table: str
    batches: tuple[int, ...] = ()  # the ledger's numbers, one per transaction
    hours: int = 0
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
    hours_per_transaction: int = HOURS_PER_TRANSACTION,
) -> Refreshed:
    """Recompute every hour of the aggregate that has a change mark, each at most once, oldest first.

    A few hours are one transaction and one batch of the ledger: dataset = the first source table,
    read = accepted = the rows produced, and one output per hour, also for an hour that has no rows left.
    Raises UnavailableError; call it again then: marks and rows are one transaction, so
    whatever was committed is not done twice, also when the answer to COMMIT was lost.
    """
    work = _Refresh(aggregate=aggregate, transformation=aggregate.transformation(), run=run)
    done, after = Refreshed(table=aggregate.table), _BEFORE_ALL
    while True:
        async with store.work() as session:
            # forward only, so that a sweep ends while others write
            hours = await waiting(session.connection, aggregate.sources, after, hours_per_transaction)
            if not hours:
                return done
            done = await _refresh_hours(session, work, hours, done)
            after = hours[-1]


async def _refresh_hours(
    session: WriterSession, work: _Refresh, hours: Sequence[datetime], done: Refreshed
) -> Refreshed:
    """One transaction; one refresh of an aggregate at a time, so that numbers order them as they commit."""
    aggregate, connection = work.aggregate, session.connection
    await session.partitions.ensure(aggregate.contract, pl.Series(hours, dtype=UTC_MICROS))
    # Not a transaction's lock: the snapshot would be taken before the wait for the lock was over.
    lock = f"refresh {aggregate.table}"
    await connection.execute("SELECT pg_advisory_lock(hashtext($1))", lock)
    batch = await next_batch(connection)
    span, outputs = None, []
    async with connection.transaction(isolation="repeatable_read"):
        marks = await take(connection, aggregate.sources, hours)
        if marks:
            for hour in sorted({mark.hour for mark in marks}):
                outputs.append(await _recompute(session, work, batch, hour))
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
        hours=done.hours + len(outputs),
        rows=done.rows + sum(output.rows for output in outputs),
    )


async def _recompute(session: WriterSession, work: _Refresh, batch: NextBatch, hour: datetime) -> Output:
    """Replace one hour's rows. Their digest is of the rows as they are stored, not as they were computed."""
    connection, contract, end = session.connection, work.aggregate.contract, hour + HOUR
    table, time = stored_table(contract.table), quoted(contract.time_column)
    await connection.execute(f"DELETE FROM {table} WHERE {time} >= $1 AND {time} < $2", hour, end)
    query = _STORE.format(
        table=table,
        columns=listed(contract.names),
        sql=work.aggregate.sql,
        key=listed(contract.key),
        time=time,
    )
    made = await connection.fetchrow(query, hour, end, batch.at, batch.number)
    assert made is not None  # noqa: S101 - an aggregate query gives one row
    if not made["within"]:
        raise ContractError(f"{contract.table}.sql gives rows outside the hour it is asked for")
    return Output(hour, made["rows"], await _digest(session, contract, hour))


async def _digest(session: WriterSession, contract: Contract, hour: datetime) -> bytes:
    """The digest of an hour as it is stored."""
    columns = {**contract.row_schema, **carried(contract)}
    time = quoted(contract.time_column)
    relation = (
        f"SELECT 0 AS {quoted(GROUP)}, {listed(columns)} FROM {stored_table(contract.table)} "
        f"WHERE {time} >= $1 AND {time} < $2"
    )
    key = {name: columns[name] for name in contract.key}
    digest = digest_of(session.keys.current, contract, hour)
    await feed(session.connection, Rows(relation, [hour, hour + HOUR], columns, key), {0: digest})
    return digest.digest()


async def _write_lineage(
    session: WriterSession, work: _Refresh, batch: NextBatch, marks: Sequence[Mark]
) -> Span:
    """An edge from each batch to each hour it changed, never to each device-hour."""
    target = naming.postgres(work.aggregate.table)
    entries = [
        Edge(
            relationship_type=RelationshipType.FEEDS,
            source=batch_node(naming.postgres(mark.table), mark.batch),
            target=bucket_node(target, mark.hour),
            created_at=batch.at,
            transformation_id=work.transformation.id,
            run_id=work.run.id,
        )
        for mark in sorted(set(marks))
    ]
    if (work.transformation.id, work.run.id) not in session.announced:
        what = Introduction(
            transformation=work.transformation, source="", columns={target: work.aggregate.columns()}
        )
        new = await introduce(session.connection, what, batch=batch.number, run_id=work.run.id)
        entries = [edges.of_announcement(work.run, work.transformation, batch.at), *new, *entries]
    return await session.writer.append(session.connection, batch.number, entries)


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
