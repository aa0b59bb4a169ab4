"""How far each partition of a topic was read: kept with the rows, advanced in the same transaction."""

from collections.abc import Mapping

from infra.postgres import Pool, translated
from tasks.load.overtaken import OvertakenError
from tasks.load.plan import Commit

_STARTED = "SELECT EXISTS (SELECT FROM store.kafka_starts WHERE pipeline = $1 AND topic = $2)"
_START = """
WITH first AS (
    INSERT INTO store.kafka_starts (pipeline, topic) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING pipeline
)
INSERT INTO store.kafka_offsets (pipeline, topic, partition, next)
SELECT first.pipeline, $2, place.partition, place.next
FROM first, unnest($3::integer[], $4::bigint[]) AS place (partition, next)
ON CONFLICT DO NOTHING
"""
_NEXT = "SELECT partition, next FROM store.kafka_offsets WHERE pipeline = $1 AND topic = $2"
_BEGIN = """
INSERT INTO store.kafka_offsets (pipeline, topic, partition, next) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""
_ADVANCE = """
UPDATE store.kafka_offsets SET next = $5, advanced_at = clock_timestamp()
WHERE pipeline = $1 AND topic = $2 AND partition = $3 AND next = $4
"""


async def started(pool: Pool, pipeline: str, topic: str) -> bool:
    """Whether the pipeline ever read the topic."""
    with translated():
        return bool(await pool.fetchval(_STARTED, pipeline, topic))


async def start(pool: Pool, pipeline: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Note the start and where these partitions begin, all at once; unless somebody has started."""
    with translated():
        await pool.execute(_START, pipeline, topic, list(offsets), list(offsets.values()))


async def next_offsets(pool: Pool, pipeline: str, topic: str) -> Mapping[int, int]:
    """Partition → the offset that comes next, of the partitions that were ever begun."""
    with translated():
        return {row["partition"]: row["next"] for row in await pool.fetch(_NEXT, pipeline, topic)}


async def begin(pool: Pool, pipeline: str, topic: str, partition: int, offset: int) -> None:
    """Note where reading a partition begins, unless somebody has begun."""
    with translated():
        await pool.execute(_BEGIN, pipeline, topic, partition, offset)


async def reset(pool: Pool, pipeline: str, topic: str, partition: int, before: int, after: int) -> None:
    """Go on elsewhere, because what comes next is gone; unless another consumer has moved on."""
    with translated():
        await pool.execute(_ADVANCE, pipeline, topic, partition, before, after)


async def advance(commit: Commit) -> None:
    """Advance the batch's partitions within its transaction; raises OvertakenError.

    Their rows are locked until the end of the transaction, in a fixed order: another consumer of these
    offsets waits, and then finds that they moved.
    """
    for span in sorted(commit.batch.offsets, key=lambda span: span.partition):
        done = await commit.connection.execute(
            _ADVANCE, commit.plan.pipeline, span.topic, span.partition, span.first, span.end
        )
        if done != "UPDATE 1":
            raise OvertakenError(
                f"Another consumer has read {span.topic}/{span.partition} from {span.first} on: "
                "this batch is dropped, and reading goes on from where that one stopped."
            )
