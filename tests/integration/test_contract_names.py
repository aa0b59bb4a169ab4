"""Names that stand in Postgres already: no contract takes them, and what stands there is left alone."""

import pytest

from infra.migrate import migrate
from infra.postgres import Connection, connect
from lineage.errors import ContractError
from tasks.contract import Contract
from tasks.contract_names import POSTGRES, TABLES
from tasks.tables.tables import prepare_table, stored_columns

RELATIONS = """
SELECT DISTINCT relname FROM pg_class WHERE relnamespace IN ('store'::regnamespace, 'public'::regnamespace)
AND relkind IN ('r', 'p', 'v', 'm', 'S') ORDER BY 1
"""


def contract(table: str, **more: object) -> Contract:
    columns = [{"name": "id", "type": "text"}, {"name": "at", "type": "timestamp"}]
    given = {"table": table, "key": ["id", "at"], "time": "at", "columns": columns, **more}
    return Contract.model_validate(given)


async def test_every_table_that_the_migrations_make_is_reserved(empty_postgres_dsn: str) -> None:
    connection = await connect(empty_postgres_dsn, application="test")
    await migrate(connection)
    made = {row["relname"] for row in await connection.fetch(RELATIONS)}
    await connection.close()
    assert made == TABLES


async def test_every_column_that_a_table_gets_is_reserved(connection: Connection) -> None:
    await prepare_table(connection, contract("events", on_return="revise"))
    query = "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum {} 0"
    system = await connection.fetch(query.format("<"), "store.events")
    assert {row["attname"] for row in system} == POSTGRES
    for table in ("events", "events_history", "events_quarantine"):
        for row in await connection.fetch(query.format(">"), f"store.{table}"):
            if row["attname"] not in ("id", "at"):
                with pytest.raises(ValueError, match=f"{row['attname']} is a column of ours"):
                    contract("other", columns=[{"name": row["attname"], "type": "text"}])
    assert set(stored_columns(contract("events"))) >= {"id", "at", "batch"}


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ("CREATE TABLE store.events_batch (x int)", "store.events_batch"),
        ("CREATE TABLE store.events (x int)", "store.events"),
        ("CREATE TABLE store.events_20261121 (x int)", "store.events_20261121"),
        ("CREATE INDEX events_history ON store.devices (name)", "store.events_history"),
        ("CREATE VIEW public.events AS SELECT 1 AS mine", "public.events"),
        ("CREATE TABLE public.events (x int)", "public.events"),
    ],
)
async def test_what_is_anothers_is_left_alone(connection: Connection, made: str, found: str) -> None:
    await connection.execute(made)
    with pytest.raises(ContractError, match=f"The table events cannot be made: {found} is there already"):
        await prepare_table(connection, contract("events"))
    assert await connection.fetchval("SELECT count(*) FROM store.contracts WHERE table_name = 'events'") == 0


async def test_two_contracts_whose_names_meet_are_not_both_made(connection: Connection) -> None:
    await prepare_table(connection, contract("events"))
    await prepare_table(connection, contract("events"))
    with pytest.raises(ContractError, match=r"store\.events_batch is there already"):
        await prepare_table(connection, contract("events_batch"))
