"""The ledger: one balanced row per commit, and one row per table it wrote to."""

import asyncio
import json
from collections.abc import Sequence

from infra.postgres import Connection, Pool, Row, translated
from lineage.canonical import canonical_json
from lineage.log import Span
from lineage.rejected import rejected_sum_of
from lineage.row_digest import VERSION, columns_id
from tasks.batch import Receipt
from tasks.load.plan import Commit
from tasks.load.prepare import Prepared
from tasks.load.row_digests import digests_of
from tasks.load.settle import Settled
from tasks.tables.tables import digested_columns

_COLUMNS = (
    "batch, dataset, position_id, position, received_at, received_until, processed_at, "
    "read, accepted, rejected, duplicates, filtered, way, raw_digest, transformation_id, run_id, "
    "writer, first_entry, last_entry, chain_head, raw_batch, rejected_sum, pipeline, digest_version, "
    "digest_key, looked_up"
)
_COUNT = _COLUMNS.count(",") + 1
_PLACES = ", ".join(f"${place}" for place in range(1, _COUNT + 1))
# One statement: each is a turn between us and Postgres, for which a batch waits.
_INSERT = f"""
WITH booked AS (INSERT INTO store.ledger ({_COLUMNS}) VALUES ({_PLACES}))
INSERT INTO store.ledger_outputs (batch, table_name, rows, digest, columns)
SELECT $1::bigint, * FROM unnest(
    ${_COUNT + 1}::text[], ${_COUNT + 2}::bigint[], ${_COUNT + 3}::bytea[], ${_COUNT + 4}::text[]
)
"""
_OURS = """
SELECT * FROM store.ledger WHERE batch = $1 AND writer = $2 AND chain_head = $3 AND raw_digest = $4
"""


async def write_ledger(commit: Commit, settled: Settled, span: Span) -> Receipt:
    """Write the commit's books; Postgres refuses them unless they balance.

    A replay brought no bytes: it has `raw_batch`, where they are, and no `raw_digest`.
    """
    receipt, batch, position = _receipt(commit, settled), commit.batch, commit.batch.position
    outputs = await _outputs(commit, settled)
    rejected_sum = settled.rejected_sum
    if rejected_sum is None:
        rejected_sum = await _rejected_sum(commit, receipt)
    await commit.connection.execute(
        _INSERT,
        receipt.batch,
        receipt.dataset,
        commit.plan.position_id(batch),
        json.dumps({"source": position.source, **position.detail}) if position else None,
        batch.received_at,
        batch.received_until,
        receipt.committed_at,
        receipt.read,
        sum(receipt.accepted.values()),
        receipt.rejected,
        receipt.duplicates,
        receipt.filtered,
        receipt.way,
        commit.raw_digest,
        commit.plan.transformation.id,
        receipt.run_id,
        span.writer,
        span.first,
        span.last,
        span.head,
        commit.raw_batch,
        rejected_sum,
        commit.plan.pipeline,
        VERSION,
        commit.keys.name,
        None if commit.looked_up is None else canonical_json(commit.looked_up),
        *([output[column] for output in outputs] for column in range(4)),
    )
    return receipt


async def _outputs(commit: Commit, settled: Settled) -> list[tuple[str, int, bytes, str]]:
    """Of each table that got rows: how many, their digest, and the columns that it covers."""
    contracts, accepted = commit.plan.contracts, settled.refined.accepted
    digests = settled.digests
    if digests is None:
        digests = await asyncio.to_thread(digests_of, commit.keys.current, contracts, accepted)
    return [
        (table, rows.height, digests[table], columns_id(digested_columns(contracts[table])))
        for table, rows in accepted.items()
        if rows.height
    ]


async def _rejected_sum(commit: Commit, receipt: Receipt) -> int:
    """The sum of the verdicts of this batch, as they are stored."""
    if not receipt.rejected and commit.raw_batch is None:
        return 0
    return await rejected_sum_of(commit.connection, commit.number, commit.keys)


def _receipt(commit: Commit, settled: Settled) -> Receipt:
    refined = settled.refined
    return Receipt(
        batch=commit.number,
        dataset=commit.batch.dataset,
        read=refined.read,
        accepted={table: rows.height for table, rows in refined.accepted.items()},
        rejected=refined.rejected.height,
        duplicates=refined.duplicates,
        filtered=refined.filtered,
        way=settled.way,
        run_id=commit.plan.run.id,
        committed_at=commit.at,
    )


async def receipt_of(connection: Connection, prepared: Prepared) -> Receipt | None:
    """The receipt of a try that was committed; None if it was not, whoever's commit bears its number."""
    if prepared.tried is None:
        return None
    tried = prepared.tried
    ours = tried.number, tried.writer.id, tried.head, prepared.raw.digest
    row = await connection.fetchrow(_OURS, *ours)
    return None if row is None else await _receipt_of(connection, row, row["way"])


async def receipt_by_position(connection: Connection, position_id: str) -> Receipt | None:
    """The receipt of the batch that holds a position, marked as a repeat; None if it was never read."""
    row = await connection.fetchrow("SELECT * FROM store.ledger WHERE position_id = $1", position_id)
    return None if row is None else await _receipt_of(connection, row, "repeat")


async def committed_positions(pool: Pool, ids: Sequence[str]) -> set[str]:
    """Which of these positions are committed."""
    query = "SELECT position_id FROM store.ledger WHERE position_id = ANY($1::text[])"
    with translated():
        return {row["position_id"] for row in await pool.fetch(query, list(ids))}


async def _receipt_of(connection: Connection, row: Row, way: str) -> Receipt:
    outputs = await connection.fetch(
        "SELECT table_name, rows FROM store.ledger_outputs WHERE batch = $1", row["batch"]
    )
    return Receipt(
        batch=row["batch"],
        dataset=row["dataset"],
        read=row["read"],
        accepted={output["table_name"]: output["rows"] for output in outputs},
        rejected=row["rejected"],
        duplicates=row["duplicates"],
        filtered=row["filtered"],
        way=way,
        run_id=row["run_id"],
        committed_at=row["processed_at"],
    )
