"""How far a source that is asked was read: its mark, kept with the rows, advanced in their transaction."""

from infra.postgres import Connection, Pool, translated
from tasks.batch import RawBatch
from tasks.load.overtaken import OvertakenError
from tasks.load.plan import Commit

_MARK = "SELECT mark FROM store.progress WHERE pipeline = $1 AND dataset = $2"
_BEGIN = """
INSERT INTO store.progress (pipeline, dataset, mark) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
_ADVANCE = """
UPDATE store.progress SET mark = $3, advanced_at = clock_timestamp()
WHERE pipeline = $1 AND dataset = $2 AND mark = $4
"""


async def mark(pool: Pool, pipeline: str, dataset: str) -> str | None:
    """Where the pipeline goes on reading the dataset; None: it was never read."""
    with translated():
        found: str | None = await pool.fetchval(_MARK, pipeline, dataset)
    return found


async def advance(commit: Commit) -> None:
    """Advance the batch's mark within its transaction; raises OvertakenError.

    Its row is locked until the end of the transaction: another reader waits, and then finds that it moved.
    """
    batch = commit.batch
    if batch.progress is not None and not await move(commit.connection, commit.plan.pipeline, batch):
        raise OvertakenError(
            f"Another reader has read {batch.dataset} from {batch.progress.first or 'its beginning'} on: "
            "this batch is dropped, and reading goes on from where that one stopped."
        )


async def move(connection: Connection, pipeline: str, batch: RawBatch) -> bool:
    """Whether the mark stood where the batch begins, and now stands where it ends."""
    at = batch.progress
    if at is None:
        return False
    place = pipeline, batch.dataset, at.end
    if at.first is None:
        return await connection.execute(_BEGIN, *place) == "INSERT 0 1"
    return await connection.execute(_ADVANCE, *place, at.first) == "UPDATE 1"
