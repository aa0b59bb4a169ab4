"""What was stored and what waits, in numbers, as people are shown them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from infra.postgres import Connection, Pool, translated
from lineage import query_files

# What each dataset brought (what was received has a digest): its last commit, and what came in the last hour.
# From one dataset to the next by the index, so that the answer does not grow with what was ever committed.
_DATASETS = query_files.read(__package__, "datasets.sql")
# How many rejected records of each dataset and pipeline wait for a person; null: who read them is not known.
_OPEN = query_files.read(__package__, "waiting_rejected.sql")

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
