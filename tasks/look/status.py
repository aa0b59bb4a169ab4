"""What was stored and what waits, in numbers, as people are shown them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from infra.postgres import Connection, Pool, translated

# What each dataset brought (what was received has a digest): its last commit, and what came in the last hour.
# From one dataset to the next by the index, so that the answer does not grow with what was ever committed.
_DATASETS = """
WITH RECURSIVE known (name) AS (
    SELECT ''
    UNION ALL
    SELECT (SELECT min(dataset) FROM store.ledger WHERE raw_digest IS NOT NULL AND dataset > name)
    FROM known WHERE name IS NOT NULL
), recent AS (
    SELECT dataset, count(*) AS batches, sum(read)::bigint AS read, sum(rejected)::bigint AS rejected
    FROM store.ledger
    WHERE raw_digest IS NOT NULL AND processed_at > statement_timestamp() - interval '1 hour'
    GROUP BY dataset
)
SELECT name, coalesce(batches, 0) AS batches, coalesce(read, 0) AS read, coalesce(rejected, 0) AS rejected,
    (
        SELECT max(processed_at) FROM store.ledger WHERE raw_digest IS NOT NULL AND dataset = name
    ) AS last_commit
FROM known LEFT JOIN recent ON dataset = name WHERE name > '' ORDER BY name
"""
# How many rejected records of each dataset and pipeline wait for a person; null: who read them is not known.
_OPEN = """
SELECT dataset, pipeline, sum(records)::bigint AS records FROM (
    SELECT dataset, records, (SELECT pipeline FROM store.ledger l WHERE l.batch = o.batch) AS pipeline FROM (
        SELECT dataset, batch, count(*) AS records FROM store.rejected
        WHERE resolved_by IS NULL GROUP BY dataset, batch
    ) o
) w GROUP BY dataset, pipeline
"""

Waiting = Mapping[tuple[str, str | None], int]
"""Dataset and the pipeline that read it (None: not known) → how many of its rejected records wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A source: `batches`, `read` and `rejected` are the last hour's."""

    name: str
    last_commit: datetime
    batches: int
    read: int
    rejected: int


async def datasets(connection: Connection) -> tuple[Dataset, ...]:
    """Every source that was ever committed, by name."""
    with translated():
        return tuple(Dataset(**row) for row in await connection.fetch(_DATASETS))


async def open_rejected(connection: "Connection | Pool") -> Waiting:
    """How many rejected records of each dataset and pipeline wait for a person."""
    with translated():
        rows = await connection.fetch(_OPEN)
    return {(row["dataset"], row["pipeline"]): row["records"] for row in rows}
