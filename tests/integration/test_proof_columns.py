"""Nothing of the record can be changed unseen: its tables are tampered with, column by column."""

from collections.abc import AsyncIterator

import pytest

from infra.local.addresses import Address
from tasks.load.rejected_queries import Which, open_batches
from tasks.load.replay import replay
from tests.fixtures.proof import House, a_house, furnish
from tests.fixtures.replay import sensors

CHANGED = {
    "bigint": "-1 - coalesce({0}, 0)",
    "integer": "-1 - coalesce({0}, 0)",
    "text": "coalesce({0}, '') || 'x'",
    "bytea": "coalesce({0}, '') || '\\x07'::bytea",
    "boolean": "NOT {0}",
    "uuid": "gen_random_uuid()",
    "smallint": "coalesce({0}, 0) + 1",
    "json": "'{{\"x\": 1}}'",
    "ARRAY": "coalesce({0}, '{{}}') || 'x'::text",
    "timestamp with time zone": "coalesce({0}, now()) + interval '1 microsecond'",
}
COLUMNS = """
SELECT column_name AS name, data_type AS type, is_nullable = 'YES' AS nullable FROM information_schema.columns
WHERE table_schema = 'store' AND table_name = $1 ORDER BY ordinal_position
"""
CHECKS = "SELECT conname AS name FROM pg_constraint WHERE contype = 'c' AND conrelid = $1::text::regclass"


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address) -> AsyncIterator[House]:
    """One of every kind of commit, and replays of rejected records: one again and again, one that passes."""
    async with a_house(postgres_dsn, graph_address) as house:
        await furnish(house)
        for maximum, which in ((150, Which()), (250, Which(rule="temperature.range"))):
            for found in await open_batches(house.way.pool, which):
                await replay(house.way.store, sensors(maximum), found.raw_batch, found.identities)
        assert (await house.prove()).differences == ()
        yield house


@pytest.mark.parametrize(
    "table", ["rejected", "replays", "ledger", "ledger_outputs", "raw_batches", "lineage_log"]
)
async def test_no_column_can_be_changed_unseen(house: House, table: str) -> None:
    """As who has every right: without triggers, and without what Postgres itself would refuse."""
    await house.connection.execute("SET session_replication_role = replica")
    for check in await house.connection.fetch(CHECKS, f"store.{table}"):
        await house.connection.execute(f"ALTER TABLE store.{table} DROP CONSTRAINT {check['name']}")
    await house.connection.execute(f"CREATE TABLE public.kept AS SELECT * FROM store.{table}")
    unseen = []
    for column in await house.connection.fetch(COLUMNS, table):
        values = [CHANGED[column["type"]].format(column["name"]), *(["NULL"] if column["nullable"] else [])]
        for value in values:
            if await changed(house, table, column["name"], value) and (await house.prove()).ok:
                unseen.append((column["name"], value))
            restore = f"TRUNCATE store.{table}; INSERT INTO store.{table} SELECT * FROM public.kept"
            await house.connection.execute(restore)
            assert (await house.prove()).differences == (), column["name"]
    assert unseen == []


async def changed(house: House, table: str, column: str, value: str) -> bool:
    """Whether a row was there whose value differs; one of an early batch, so that others follow it."""
    done = await house.connection.execute(
        f"UPDATE store.{table} SET {column} = {value} WHERE ctid = (SELECT ctid FROM store.{table} "
        f"WHERE {column}::text IS DISTINCT FROM ({value})::text ORDER BY batch LIMIT 1)"
    )
    return done == "UPDATE 1"
