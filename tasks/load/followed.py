"""How far each followed file was read: kept with the rows, advanced in the same transaction."""

from collections.abc import Sequence
from uuid import UUID

from infra.postgres import Pool, Row, translated
from tasks.followed import FollowedFile, Reached
from tasks.load.overtaken import OvertakenError
from tasks.load.plan import Commit

_COLUMNS = "file, path, number, inode, seen_as, left_at, next, line, sha256"
_FIND = f"""
SELECT {_COLUMNS} FROM store.followed_files
WHERE pipeline = $1 AND (path = $2 OR seen_as = $2 OR inode = $3) ORDER BY begun_at DESC
"""
_FOLLOWED = f"SELECT {_COLUMNS} FROM store.followed_files WHERE pipeline = $1 AND left_at IS NULL"
_BEGIN = """
INSERT INTO store.followed_files (pipeline, file, path, number, inode, seen_as, next, line, sha256)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
"""
_SEEN = "UPDATE store.followed_files SET seen_as = $2, inode = $3, left_at = NULL WHERE file = $1"
_LEFT = "UPDATE store.followed_files SET left_at = clock_timestamp() WHERE file = $1"
_ADVANCE = """
UPDATE store.followed_files SET next = $3, line = $4, sha256 = $5, advanced_at = clock_timestamp()
WHERE file = $1 AND next = $2
"""


async def find(pool: Pool, pipeline: str, path: str, inode: str) -> Sequence[FollowedFile]:
    """The files that were ever called so, or lay there; the one that was begun last comes first."""
    with translated():
        return [_file_of(row) for row in await pool.fetch(_FIND, pipeline, path, inode)]


async def followed(pool: Pool, pipeline: str) -> Sequence[FollowedFile]:
    """The files that a pipeline follows."""
    with translated():
        return [_file_of(row) for row in await pool.fetch(_FOLLOWED, pipeline)]


async def begin(pool: Pool, pipeline: str, new: FollowedFile) -> bool:
    """Note where reading a file begins; False: somebody else has begun it."""
    place, reached = (new.file, new.path, new.number, new.inode, new.seen_as), new.reached
    with translated():
        done = await pool.execute(_BEGIN, pipeline, *place, reached.next, reached.line, reached.sha256)
    return done == "INSERT 0 1"


async def seen(pool: Pool, file: UUID, path: str, inode: str) -> None:
    """Note what a file is called now, and where it lies."""
    with translated():
        await pool.execute(_SEEN, file, path, inode)


async def left(pool: Pool, file: UUID) -> None:
    """Note that a file is followed no more."""
    with translated():
        await pool.execute(_LEFT, file)


async def advance(commit: Commit) -> None:
    """Advance the batch's file within its transaction; raises OvertakenError.

    Its row is locked until the end of the transaction: another reader of the file waits, and then finds that
    it moved.
    """
    span = commit.batch.followed
    if span is None:
        return
    reached = span.reached
    done = await commit.connection.execute(
        _ADVANCE, span.file, span.first, reached.next, reached.line, reached.sha256
    )
    if done != "UPDATE 1":
        raise OvertakenError(
            f"Another listener has read {span.path} from byte {span.first} on: this batch is dropped, and "
            "reading goes on from where that one stopped."
        )


def _file_of(row: Row) -> FollowedFile:
    return FollowedFile(
        file=row["file"],
        path=row["path"],
        number=row["number"],
        inode=row["inode"],
        seen_as=row["seen_as"],
        left=row["left_at"] is not None,
        reached=Reached(next=row["next"], line=row["line"], sha256=row["sha256"]),
    )
