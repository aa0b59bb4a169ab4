"""A recording is part of the caller's transaction, continues a chain that is free, and proves clean."""

import asyncio
from contextlib import suppress
from uuid import uuid4

import polars as pl
import pytest

from infra.local.addresses import Address
from infra.postgres import Connection, connect
from lineage.errors import QueryError, RejectedError
from lineage.migrate import migrate
from lineage.model import Run, Transformation
from lineage.recorder import named, record
from tests.fixtures.commit import NOW
from tests.fixtures.proof import House, a_house, furnish

DERIVED = "lineage_log WHERE relationship_type = 'DERIVES' AND target_key LIKE 'postgres:totals.%'"
BY = Transformation(name="totals", version="1")


async def count(house: House, what: str) -> int:
    found: int = await house.way.value(f"SELECT count(*) FROM {what}")
    return found


async def record_one(connection: Connection, target: str = "postgres:totals") -> None:
    async with record(connection, BY) as lineage:
        lineage.feeds("file:orders.csv", target, rows=3)


async def test_recordings_beside_commits_prove_clean(postgres_dsn: str, graph: Address) -> None:
    orders = named(pl.LazyFrame({"price": [1]}), "file:orders.csv")
    rates = named(pl.LazyFrame({"rate": [2]}), "file:rates.csv")
    totals = orders.join(rates, how="cross").select(total=pl.col("price") * pl.col("rate"), one=pl.lit(1))
    run = Run(id=uuid4(), kind="flow", name="nightly", started_at=NOW)
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        for _ in range(2):
            async with record(house.connection, BY, run=run) as lineage:
                lineage.feeds("file:orders.csv", "postgres:totals", frame=totals, rows=1)
                lineage.feeds("postgres:totals", "file:report.pdf")
        proof = await house.prove()
        assert proof.ok, proof.differences
        rows = await house.graph.read(
            "MATCH (a:Dataset)-[:FEEDS]->(b:Dataset) "
            "WHERE a.key STARTS WITH 'file:' OR b.key STARTS WITH 'file:' "
            "RETURN a.key AS source, b.key AS target ORDER BY source",
            {},
        )
        assert [tuple(row.values()) for row in rows] == [
            ("file:orders.csv", "postgres:totals"),
            ("file:rates.csv", "postgres:totals"),
            ("postgres:totals", "file:report.pdf"),
        ]
        rows = await house.graph.read(
            "MATCH (s)-[:DERIVES]->(t:Column) WHERE t.dataset = 'postgres:totals' "
            "RETURN s.key AS source, t.column AS target ORDER BY source",
            {},
        )
        assert {tuple(row.values()) for row in rows} == {
            ("file:orders.csv.price", "total"),
            ("file:rates.csv.rate", "total"),
            ("file:orders.csv", "one"),
            ("file:rates.csv", "one"),
        }
        assert await count(house, DERIVED) == len(rows)


async def test_what_is_rolled_back_is_not_recorded(postgres_dsn: str, graph_address: Address) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await record_one(house.connection)
        with suppress(ZeroDivisionError):
            async with house.connection.transaction():
                await record_one(house.connection)
                raise ZeroDivisionError
        with suppress(ZeroDivisionError):
            async with record(house.connection, BY) as lineage:
                lineage.feeds("a:b", "c:d")
                raise ZeroDivisionError
        async with record(house.connection, BY):
            pass
        with pytest.raises(RejectedError, match=r"call named\(frame, uri\)"):
            async with record(house.connection, BY) as lineage:
                lineage.feeds("a:b", "c:d", frame=pl.LazyFrame({"a": [1]}))
        assert await count(house, "ledger") == 1
        await record_one(house.connection)
        assert await count(house, "ledger") == 2
        assert (await house.prove()).ok


async def test_a_chain_is_continued_by_whoever_is_next_and_never_by_two(
    postgres_dsn: str, graph_address: Address
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        others = [await connect(postgres_dsn, application=f"other {n}") for n in range(4)]
        for each in others:
            await record_one(each)
        assert await count(house, "store.lineage_writers") == 1
        async with house.connection.transaction():
            await record_one(house.connection)
            await record_one(house.connection, "postgres:twice in one transaction")
            await record_one(others[0])
        assert await count(house, "store.lineage_writers") == 2
        await asyncio.gather(*(record_many(each) for each in others))
        assert await count(house, "store.lineage_writers") <= 5
        assert await count(house, "ledger") == 4 + 3 + 4 * 10
        for each in others:
            await each.close()
        proof = await house.prove()
        assert proof.ok, proof.differences


async def record_many(connection: Connection) -> None:
    for _ in range(10):
        await record_one(connection)


async def test_the_engines_tables_are_made_once_and_an_edited_migration_is_refused(
    empty_postgres_dsn: str,
) -> None:
    connection = await connect(empty_postgres_dsn, application="test")
    assert await migrate(connection)
    assert await migrate(connection) == []
    await record_one(connection)
    await connection.execute("UPDATE store.migrations SET checksum = 'another'")
    with pytest.raises(QueryError, match="was edited after it was applied"):
        await migrate(connection)
    await connection.close()
