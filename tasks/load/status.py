"""What was stored and what waits, in numbers, as people are shown them."""

from dataclasses import dataclass
from datetime import datetime

from infra.postgres import Connection, Pool, translated

# What each dataset brought (what was received has a digest): its last commit, and the last hour's records.
_DATASETS = """
SELECT dataset AS name, max(processed_at) AS last_commit, count(*) AS batches,
    coalesce(sum(read) FILTER (WHERE recent), 0)::bigint AS read,
    coalesce(sum(rejected) FILTER (WHERE recent), 0)::bigint AS rejected
FROM (SELECT *, processed_at > clock_timestamp() - interval '1 hour' AS recent FROM store.ledger) ledger
WHERE raw_digest IS NOT NULL
GROUP BY dataset ORDER BY dataset
"""
# How many rejected records of each dataset wait for a person.
_OPEN = "SELECT dataset, count(*) AS records FROM store.rejected WHERE resolved_by IS NULL GROUP BY dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A source: `read` and `rejected` are the last hour's."""

    name: str
    last_commit: datetime
    batches: int
    read: int
    rejected: int


async def datasets(connection: Connection) -> tuple[Dataset, ...]:
    """Every source that was ever committed, by name."""
    with translated():
        return tuple(Dataset(**row) for row in await connection.fetch(_DATASETS))


async def open_rejected(connection: "Connection | Pool") -> dict[str, int]:
    """Dataset → how many of its rejected records wait for a person."""
    with translated():
        return {row["dataset"]: row["records"] for row in await connection.fetch(_OPEN)}
