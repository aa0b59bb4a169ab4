"""Which files are followed: what each is known by. How far one was read is a mark of `progress.py`."""

from collections.abc import Sequence
from uuid import UUID

from infra.postgres import Pool, Row, translated
from tasks.followed import NOTHING, FollowedFile, Reached

_FILES = """
SELECT f.file, f.path, f.number, f.inode, f.seen_as, f.left_at, p.mark FROM store.followed_files f
LEFT JOIN store.progress p ON p.pipeline = f.pipeline AND p.dataset = $2 AND p.part = f.file::text
WHERE f.pipeline = $1
"""
_FIND = f"{_FILES} AND (f.path = $3 OR f.seen_as = $3 OR f.inode = $4) ORDER BY f.begun_at DESC"
_FOLLOWED = f"{_FILES} AND f.left_at IS NULL"
# Another pattern is another dataset, and the files stay what they are.
_TAKE_ALONG = """
UPDATE store.progress p SET dataset = $2 FROM store.followed_files f
WHERE f.pipeline = $1 AND p.pipeline = $1 AND p.part = f.file::text AND p.dataset <> $2
"""
_BEGIN = """
INSERT INTO store.followed_files (pipeline, file, path, number, inode, seen_as)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""
_SEEN = "UPDATE store.followed_files SET seen_as = $2, inode = $3, left_at = NULL WHERE file = $1"
_LEFT = "UPDATE store.followed_files SET left_at = clock_timestamp() WHERE file = $1"


async def find(pool: Pool, pipeline: str, dataset: str, path: str, inode: str) -> Sequence[FollowedFile]:
    """The files that were ever called so, or lay there; the one that was begun last comes first."""
    with translated():
        return [_file_of(row) for row in await pool.fetch(_FIND, pipeline, dataset, path, inode)]


async def followed(pool: Pool, pipeline: str, dataset: str) -> Sequence[FollowedFile]:
    """The files that a pipeline follows; they are gone on with under the dataset that it names now."""
    with translated():
        await pool.execute(_TAKE_ALONG, pipeline, dataset)
        return [_file_of(row) for row in await pool.fetch(_FOLLOWED, pipeline, dataset)]


async def begin(pool: Pool, pipeline: str, new: FollowedFile) -> bool:
    """Note a file that is read from its beginning; False: somebody else has begun it."""
    place = new.file, new.path, new.number, new.inode, new.seen_as
    with translated():
        return await pool.execute(_BEGIN, pipeline, *place) == "INSERT 0 1"


async def seen(pool: Pool, file: UUID, path: str, inode: str) -> None:
    """Note what a file is called now, and where it lies."""
    with translated():
        await pool.execute(_SEEN, file, path, inode)


async def left(pool: Pool, file: UUID) -> None:
    """Note that a file is followed no more."""
    with translated():
        await pool.execute(_LEFT, file)


def _file_of(row: Row) -> FollowedFile:
    return FollowedFile(
        file=row["file"],
        path=row["path"],
        number=row["number"],
        inode=row["inode"],
        seen_as=row["seen_as"],
        left=row["left_at"] is not None,
        reached=NOTHING if row["mark"] is None else Reached.of(row["mark"]),
    )
