"""Drop: a person gives rejected records up. They wait no longer; their rows and their bytes in raw stay.

One transaction: who and why, a verdict per record, a number of the ledger and its lineage:

    the batches that rejected them ─▶ drops#ACT
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from infra.postgres import Connection, Row, translated
from lineage import append, query_files
from lineage.acts import DROPS, digest_of
from lineage.keys import KeyRing
from lineage.model import RelationshipType, batch_node, run_node
from lineage.rejected import rejected_sum_of
from tasks.again.quarantine import Act, record
from tasks.again.replay import DROPPING
from tasks.load.edges import REJECTED
from tasks.look.rejected_queries import CHOSEN, Which
from tasks.our_code import of_act

AT_MOST: Final = timedelta(minutes=30)  # per statement; a million records may take over a minute

_DROP = query_files.read(__package__, "drop.sql").format(chosen=CHOSEN)
_LIMIT = "SELECT set_config('statement_timeout', $1, true)"
_REJECTED_BY = """
SELECT r.batch, count(*) AS records FROM store.replays p JOIN store.rejected r USING (identity)
WHERE p.batch = $1 GROUP BY r.batch ORDER BY r.batch
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """How many records were dropped, and how many of them broke each rule."""

    records: int
    rules: Mapping[str, int]


async def drop(
    connection: Connection, which: Which, act: Act, keys: KeyRing, *, dry_run: bool = False
) -> Dropped:
    """Drop the chosen records that are open; a dry run does it and rolls it back.

    Waits for replays that are under way, and those that come wait for it: a record has one verdict.
    """
    with translated():
        transaction = connection.transaction()
        await transaction.start()  # a failure ends with the connection, and the transaction with it
        await connection.execute(_LIMIT, f"{AT_MOST.total_seconds():.0f}s")
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", *DROPPING)
        batch = await record(connection, act)
        rows = await connection.fetch(_DROP, *which.values, batch.number)
        if dry_run or not rows:
            await transaction.rollback()
        else:
            await _write_lineage(connection, act, batch, keys)
            await transaction.commit()
    return _counted(rows)


async def _write_lineage(connection: Connection, act: Act, batch: append.NextBatch, keys: KeyRing) -> None:
    number, at = batch
    fed = await connection.fetch(_REJECTED_BY, number)
    rows, digest = sum(row["records"] for row in fed), await digest_of(connection, number)
    target = batch_node(DROPS, number, rows=rows, digest=digest)
    commit = append.LedgerEntry(
        number=number,
        dataset=REJECTED,
        way=act.kind,
        transformation=of_act(drop, act.kind),
        run_id=act.run.id,
        at=at,
        received_at=at,
        rejected_sum=await rejected_sum_of(connection, number, keys),
        digest_key=keys.name,
    )
    edges = [(RelationshipType.FEEDS, batch_node(REJECTED, row["batch"]), target) for row in fed]
    await append.write(connection, commit, run_node(act.run), edges, {})


def _counted(rows: Sequence[Row]) -> Dropped:
    rules = Counter(rule for row in rows for rule in row["rules"])
    return Dropped(records=len(rows), rules=dict(rules.most_common()))
