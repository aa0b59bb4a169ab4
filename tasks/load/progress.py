"""How far every source was read: its marks, kept with the rows, advanced in their transaction.

A partition of Kafka and a file that grows are parts of a dataset, with a mark each; a source without parts
has one, of the part ''.
"""

from collections.abc import Mapping

from infra.postgres import Connection, Pool, translated
from lineage import query_files
from tasks.batch import Advance
from tasks.load.overtaken import OvertakenError
from tasks.load.plan import Commit

_MARKS = "SELECT part, mark FROM store.progress WHERE pipeline = $1 AND dataset = $2"
_BEGIN = query_files.read(__package__, "begin_progress.sql")
_FIRST = """
INSERT INTO store.progress (pipeline, dataset, part, mark) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
_ADVANCE = """
UPDATE store.progress SET mark = $4, advanced_at = clock_timestamp()
WHERE pipeline = $1 AND dataset = $2 AND part = $3 AND mark = $5
"""


async def marks(pool: Pool, pipeline: str, dataset: str) -> Mapping[str, str]:
    """Where the pipeline goes on reading each part of the dataset; without those that were never read."""
    with translated():
        return {row["part"]: row["mark"] for row in await pool.fetch(_MARKS, pipeline, dataset)}


async def mark(pool: Pool, pipeline: str, dataset: str) -> str | None:
    """Where the pipeline goes on reading a dataset without parts; None: it was never read."""
    return (await marks(pool, pipeline, dataset)).get("")


async def begin(pool: Pool, pipeline: str, dataset: str, begun: Mapping[str, str]) -> None:
    """Note where these parts begin, all at once; none of them where somebody has begun the first."""
    (part, at), *others = begun.items()
    parts, ats = [each for each, _ in others], [each for _, each in others]
    with translated():
        await pool.execute(_BEGIN, pipeline, dataset, part, at, parts, ats)


async def go_on(pool: Pool, pipeline: str, dataset: str, at: Advance) -> None:
    """Go on elsewhere, because what comes next is gone; unless another reader has moved on."""
    with translated():
        await pool.execute(_ADVANCE, pipeline, dataset, at.part, at.end, at.first)


async def advance(commit: Commit) -> None:
    """Advance the batch's marks within its transaction; raises OvertakenError.

    Their rows are locked until the end of the transaction, in a fixed order: another reader waits, and then
    finds that they moved.
    """
    dataset = commit.batch.dataset
    for at in sorted(commit.batch.progress, key=lambda at: at.part):
        if not await move(commit.connection, commit.plan.pipeline, dataset, at):
            raise OvertakenError(
                f"Another reader has read {dataset}{at.part and f', part {at.part},'} from "
                f"{at.first or 'its beginning'} on: this batch is dropped, and reading goes on from where "
                "that one stopped."
            )


async def move(connection: Connection, pipeline: str, dataset: str, at: Advance) -> bool:
    """Whether the mark stood where the batch begins, and now stands where it ends."""
    place = pipeline, dataset, at.part, at.end
    if at.first is None:
        return await connection.execute(_FIRST, *place) == "INSERT 0 1"
    return await connection.execute(_ADVANCE, *place, at.first) == "UPDATE 1"
