"""What older versions kept of how far sources were read stands in one table after the migration."""

from uuid import UUID

from infra import migrate
from infra.postgres import Connection, connect, open_pool
from lineage.migrate import apply
from tasks.load import followed, progress

MOVES = "infra/0022_progress_of_every_source.sql"
OLD, NEW = UUID(int=1), UUID(int=2)
BEFORE = f"""
INSERT INTO store.kafka_offsets (pipeline, topic, partition, next) VALUES
    ('a', 'readings', 0, 7), ('a', 'readings', 1, 0), ('b', 'readings', 0, 5), ('c', 'west:readings', 3, 9);
INSERT INTO store.kafka_starts (pipeline, topic) VALUES
    ('a', 'readings'), ('b', 'readings'), ('c', 'west:readings'), ('d', 'empty');
INSERT INTO store.progress (pipeline, dataset, mark) VALUES ('p', 'shop:orders', '3');
INSERT INTO store.followed_files
    (file, pipeline, path, number, inode, seen_as, next, line, sha256, left_at) VALUES
    ('{OLD}', 'log', 'a.csv', 1, '1:2', 'a.csv.1', 120, 7, '\\x0a', now()),
    ('{NEW}', 'log', 'a.csv', 2, '1:3', 'a.csv', 0, 1, sha256(''), NULL);
"""


async def an_older_store(dsn: str) -> Connection:
    """With the tables of before, and what stood there."""
    connection = await connect(dsn, application="test")
    older = [each for each in migrate._migrations() if each[0] < MOVES or each[0].startswith("lineage/")]
    await apply(connection, older)
    await connection.execute(BEFORE)
    return connection


async def test_what_was_kept_in_three_tables_is_read_on_from_one(empty_postgres_dsn: str) -> None:
    connection = await an_older_store(empty_postgres_dsn)
    assert MOVES in await migrate.migrate(connection)
    gone = "SELECT to_regclass('store.kafka_offsets') IS NULL AND to_regclass('store.kafka_starts') IS NULL"
    assert await connection.fetchval(gone)
    await connection.close()
    async with open_pool(empty_postgres_dsn, application="test") as pool:
        assert await progress.marks(pool, "a", "kafka:readings") == {"": "unknown", "0": "7", "1": "0"}
        assert await progress.marks(pool, "b", "kafka:readings") == {"": "unknown", "0": "5"}
        assert await progress.marks(pool, "c", "kafka+west:readings") == {"": "unknown", "3": "9"}
        assert await progress.marks(pool, "d", "kafka:empty") == {"": "unknown"}
        assert await progress.mark(pool, "p", "shop:orders") == "3"
        (new,) = await followed.followed(pool, "log", "file:log/*.csv")
        assert (new.file, new.number, new.reached.next) == (NEW, 2, 0)
        assert set(await progress.marks(pool, "log", "file:log/*.csv")) == {str(OLD)}
        old = (await followed.find(pool, "log", "file:log/*.csv", "a.csv", "1:2"))[-1]
        assert (old.file, old.reached.next, old.reached.line, old.reached.sha256) == (OLD, 120, 7, b"\x0a")
        assert old.left
