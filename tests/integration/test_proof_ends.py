"""Whatever is done to Postgres, a proof ends, and with differences: table by table the worst there can be."""

from collections.abc import AsyncIterator

import pytest

from infra.local.addresses import Address
from lineage.proof.claims import EXTRA, MISSING, NOT_PROVED
from lineage.proof.schema import COLUMNS, check_schema
from tasks.look.verify import stored_shapes
from tests.fixtures.everything import do_everything
from tests.fixtures.proof import House, a_house

WORST = {
    "bigint": "9223372036854775807",
    "smallint": "32767",
    "integer": "-2147483648",
    "text": "''",
    "bytea": "''",
    "boolean": "NULL",
    "uuid": "NULL",
    "json": "'[]'",
    "text[]": "'{}'",
    "timestamp with time zone": "'infinity'",
}
OTHERS = """
SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute a
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE attrelid = ('store.' || $1)::regclass AND attnum > 0 AND NOT attisdropped
AND (NOT attnum = ANY (i.indkey)) IS NOT FALSE
"""
CHECKS = """
SELECT conname AS name, conrelid::regclass::text AS of FROM pg_constraint
WHERE contype IN ('c', 'f', 'u') AND connamespace = 'store'::regnamespace AND conparentid = 0
"""
NULLS = (
    "UPDATE pg_attribute SET attnotnull = false WHERE attrelid = ('store.' || $1)::regclass AND attname = $2"
)
HARMLESS = {
    *(table for table, columns in NOT_PROVED.items() if {MISSING, EXTRA} <= columns.keys()),
    *("identity", "subjects", "relay_cursors", "lineage_writers"),
}
"""Not proved, or not of what is sealed, or without a column beside its key."""


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address) as house:
        yield house


async def test_the_schema_is_what_migrations_and_contracts_make(house: House) -> None:
    """A new column must be proved, or said not to be: lineage/proof/schema.py, claims.py, docs/proof.md."""
    tables = await stored_shapes(house.connection)
    async with house.connection.transaction():
        assert [each async for each in check_schema(house.connection, tables)] == []


async def test_a_proof_ends_whatever_is_stored(house: House) -> None:
    await do_everything(house, 1)
    assert (await house.prove()).differences == ()
    await house.connection.execute("SET session_replication_role = replica")
    for check in await house.connection.fetch(CHECKS):
        await house.connection.execute(f"ALTER TABLE {check['of']} DROP CONSTRAINT {check['name']}")
    for table in sorted(COLUMNS.keys() - HARMLESS):
        await house.connection.execute(f"CREATE TABLE public.kept AS SELECT * FROM store.{table}")
        columns = await house.connection.fetch(OTHERS, table)
        for each in columns:
            await house.connection.execute(NULLS, table, each["name"])
        worst = ", ".join(f'"{each["name"]}" = {WORST[each["type"]]}' for each in columns)
        done = await house.connection.execute(f"UPDATE store.{table} SET {worst}")
        assert not done.endswith(" 0"), table
        proof = await house.prove()
        assert not proof.ok, table
        await house.connection.execute(
            f"TRUNCATE store.{table} CASCADE; "
            f"INSERT INTO store.{table} OVERRIDING SYSTEM VALUE SELECT * FROM public.kept; "
            "DROP TABLE public.kept"
        )
