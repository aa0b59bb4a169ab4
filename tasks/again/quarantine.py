"""Rows out of what people query, and back in. Nothing stored is changed: the published view leaves keys out.

Quarantine is of a key, so it survives redelivery and reprocessing: whatever returns under the key stays out
until it is released. One table is one act, which is one transaction, a number of the ledger and its lineage:

    the rows' batches ─▶ quarantine#ACT      and these rows are marked as changed, for the derived tables
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lineage import append, naming
from lineage.acts import QUARANTINE, RECALL, RECALLS, digest_of
from lineage.identifiers import column_of, listed, stored_table
from lineage.model import RelationshipType, Run, batch_node, run_node
from lineage.ports import Connection
from lineage.stored import key_text
from tasks.again.recall import Condition
from tasks.contract import Contract
from tasks.derived.mark_readers import hold
from tasks.load.change_marks import mark
from tasks.load.edges import RAW
from tasks.load.reference import numbered_in_order
from tasks.load.store import Store
from tasks.look.verify import shape_of
from tasks.our_code import of_act
from tasks.tables.tables import in_quarantine, same_key

Kind = Literal["quarantine", "release", "reprocess"]

_RECALL = """
INSERT INTO store.recalls (act, kind, selection, reason, by_whom, run_id, at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_RECORD = """
INSERT INTO store.quarantine (act, table_name, key, batch, released)
SELECT $1, $2, "key as text", batch, $3 FROM taken
"""
_SOURCES = "SELECT batch, dataset FROM store.ledger WHERE batch = ANY($1::bigint[]) ORDER BY batch"
_BATCHES = "SELECT batch, count(*) AS rows FROM taken GROUP BY batch ORDER BY batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who does what, why, and with which rows or records."""

    kind: Kind | Literal["drop"]
    selection: str  # JSON
    reason: str
    by_whom: str
    run: Run


async def record(connection: Connection, act: Act) -> append.NextBatch:
    """Write down who and why; returns the act's number and time."""
    batch = await append.next_batch(connection)
    values = batch.number, act.kind, act.selection, act.reason, act.by_whom, act.run.id, batch.at
    await connection.execute(_RECALL, *values)
    return batch


async def record_reprocess(connection: Connection, act: Act, batches: Sequence[int]) -> int:
    """Write down who has raw batches made again and why, with its lineage; returns the act's number."""
    async with connection.transaction():
        number, at = await record(connection, act)
        commit = append.LedgerEntry(
            number=number,
            dataset=RAW,
            way=RECALL,
            transformation=of_act(record_reprocess, RECALL),
            run_id=act.run.id,
            at=at,
            received_at=at,
        )
        target = batch_node(RECALLS, number, digest=await digest_of(connection, number))
        relations = [
            (RelationshipType.FEEDS, batch_node(row["dataset"], row["batch"]), target)
            for row in await connection.fetch(_SOURCES, batches)
        ]
        await append.write(connection, commit, run_node(act.run), relations, {})
    return number


async def set_apart(store: Store, condition: Condition, act: Act, *, dry_run: bool = False) -> int:
    """Take the chosen rows out, or release them; returns how many were not so before.

    Done again it changes nothing; a dry run does it and rolls it back. Call again after UnavailableError.
    """
    async with store.work() as session, numbered_in_order(session.connection, [condition.contract]):
        transaction = session.connection.transaction()
        await transaction.start()  # a failure discards the connection, and the transaction with it
        batch = await record(session.connection, act)
        rows = await _take(session.connection, condition, act, batch.number)
        if dry_run or not rows:
            await transaction.rollback()
            return rows
        await _record_rows(session.connection, condition.contract, act, batch)
        await transaction.commit()
        return rows


async def _take(connection: Connection, condition: Condition, act: Act, number: int) -> int:
    """Change what stands in quarantine; the rows that changed are then in the temporary table `taken`."""
    contract, table = condition.contract, stored_table(f"{condition.contract.table}_quarantine")
    out = in_quarantine(contract)
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", table)
    chosen = _chosen(contract)
    await connection.execute("DROP TABLE IF EXISTS pg_temp.taken")
    await connection.execute(f"CREATE TEMP TABLE taken ON COMMIT DROP AS {chosen} WHERE false")
    await connection.execute(
        f"INSERT INTO taken {chosen} "
        f"WHERE {condition.sql} AND {'NOT ' if act.kind == 'quarantine' else ''}{out}",
        *condition.values,
    )
    names = listed(contract.key)
    if act.kind == "quarantine":
        put = f"INSERT INTO {table} ({names}, act) SELECT {names}, {number} FROM taken"
        await connection.execute(put)
    else:
        await connection.execute(
            f"DELETE FROM {table} q USING taken t WHERE {same_key(contract.key, 'q', 't')}"
        )
    return int(await connection.fetchval("SELECT count(*) FROM taken"))


def _chosen(contract: Contract) -> str:
    """A query of rows `s`: their key columns, batch and time (null without one), and the key as text.

    No column of a contract has a space in its name.
    """
    time = "null::timestamptz" if contract.time is None else column_of("s", contract.time)
    made = f's.batch, {time} AS "changed at", {key_text(shape_of(contract))} AS "key as text"'
    return f"SELECT {listed(contract.key, 's')}, {made} FROM {stored_table(contract.table)} s"


async def _record_rows(connection: Connection, contract: Contract, act: Act, batch: append.NextBatch) -> None:
    """Write down the rows, their marks, and the act with its lineage: each batch concerned → the act."""
    number, at = batch
    await connection.execute(_RECORD, number, contract.table, act.kind == "release")
    if not contract.is_reference:
        await hold(connection, contract.table)  # nothing is written to it
        await mark(connection, contract.table, '(SELECT "changed at" AS at, batch FROM taken) AS changed')
    uri = naming.postgres(contract.table)
    commit = append.LedgerEntry(
        number=number,
        dataset=uri,
        way=act.kind,
        transformation=of_act(set_apart, act.kind),
        run_id=act.run.id,
        at=at,
        received_at=at,
    )
    concerned = await connection.fetch(_BATCHES)
    rows, digest = sum(row["rows"] for row in concerned), await digest_of(connection, number)
    target = batch_node(QUARANTINE, number, rows=rows, digest=digest)
    relations = [(RelationshipType.FEEDS, batch_node(uri, row["batch"]), target) for row in concerned]
    await append.write(connection, commit, run_node(act.run), relations, {})
