"""What is recorded of a transformation: its columns once, and which version is in force since when."""

from dataclasses import replace
from uuid import uuid4

import pytest

from infra.local.addresses import Address
from lineage import relay
from lineage.columns import ColumnEdge, Kind, Subtype
from lineage.errors import QueryError
from lineage.model import Transformation
from tasks.transform.columns import opaque
from tests.fixtures.commit import CONTRACT, Way, a_batch, a_plan, message
from tests.fixtures.lineage import in_graph
from tests.fixtures.proof import House, a_house

SOURCE = "mqtt:sensors/+/readings"
OTHERS = [name for name in CONTRACT.names if name not in ("temperature", "place", "source_name")]


def columns(source: str) -> dict[str, tuple[ColumnEdge, ...]]:
    return {
        "sensor_readings": (
            ColumnEdge(source, "temperature", "temperature", Kind.DIRECT, Subtype.IDENTITY, False),
            ColumnEdge(source, "humidity", "temperature", Kind.INDIRECT, Subtype.FILTER, False),
            ColumnEdge(source, "humidity", "temperature", Kind.INDIRECT, Subtype.CONDITIONAL, True),
            ColumnEdge(source, None, "place", Kind.DIRECT, Subtype.AGGREGATION, False),
            ColumnEdge("", None, "source_name", Kind.DIRECT, Subtype.IDENTITY, False),
            *opaque("source:hidden", OTHERS),
        )
    }


async def commit(house: House, version: str, second: int) -> None:
    """One batch by a new writer, run and version of the transformation."""
    house.way.store.discard()
    plan = a_plan()
    plan = replace(
        plan,
        transformation=Transformation(name="sensors", version=version),
        run=replace(plan.run, id=uuid4()),
        columns=columns,
    )
    way = Way(house.way.store, house.way.pool, plan)
    await way.take(a_batch(message("a", second)))


async def count(house: House, kind: str) -> int:
    return await house.connection.fetchval(
        "SELECT count(*) FROM lineage_log WHERE relationship_type = $1", kind
    )


async def test_columns_are_recorded_once_for_each_version(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        for second, version in enumerate(("1", "1", "2", "1")):
            await commit(house, version, second)
        assert await count(house, "DERIVES") == 2 * (4 + len(OTHERS))
        assert await count(house, "SUPERSEDES") == 2  # 2 over 1, and 1 over 2 again
        await relay.catch_up(house.connection, house.graph)
        elements = await in_graph(house.graph)
        derives = {
            (source, target[1], facts.get("direct"), facts.get("indirect"), facts.get("opaque"))
            for (kind, source, target, via), facts in elements.relationships.items()
            if kind == "DERIVES" and via == "sensors@2" and source[1] != "source:hidden"
        }
        assert derives == {
            (
                ("Column", f"{SOURCE}.temperature"),
                "postgres:sensor_readings.temperature",
                "IDENTITY",
                None,
                None,
            ),
            (
                ("Column", f"{SOURCE}.humidity"),
                "postgres:sensor_readings.temperature",
                None,
                "CONDITIONAL,FILTER",
                True,
            ),
            (("Dataset", SOURCE), "postgres:sensor_readings.place", "AGGREGATION", None, None),
            (
                ("Transformation", "sensors@2"),
                "postgres:sensor_readings.source_name",
                "IDENTITY",
                None,
                None,
            ),
        }
        assert (await house.prove()).ok


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DELETE FROM store.transformations", "stands in the log and not there"),
        ("UPDATE store.transformations SET batch = batch + 1", "is not from the log"),
        ("UPDATE store.transformations SET source = ''", "is not from the log"),
        ("UPDATE store.transformations SET name = 'another'", "stands in the log and not there"),
        (
            "INSERT INTO store.transformations VALUES ('sensors@3', '', 'postgres:runs', 'sensors', 1)",
            "transformations, batch 1: sensors@3 for postgres:runs is not from the log",
        ),
        ("DELETE FROM store.reigns", "reigns: no version of sensors is in force, and it ran"),
        (
            "DELETE FROM store.reigns WHERE reign = 1",
            "sensors@2 after sensors@1 stands in the log and not there",
        ),
        ("UPDATE store.reigns SET batch = batch + 1", "is not from the log"),
        ("UPDATE store.reigns SET name = 'another'", "reigns, batch 1: sensors@1 is not from the log"),
        (
            "INSERT INTO store.reigns (name, transformation_id, batch) VALUES ('sensors', 'sensors@1', 2)",
            "reigns, batch 2: sensors@1 after sensors@2 is not from the log",
        ),
    ],
)
async def test_introductions_that_are_not_those_of_the_log_are_named(
    postgres_dsn: str, graph_address: Address, statement: str, sentence: str
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        for second, version in enumerate(("1", "2")):
            await commit(house, version, second)
        assert (await house.prove()).differences == ()
        await house.connection.execute("SET session_replication_role = replica")
        await house.connection.execute(statement)
        await house.connection.execute("SET session_replication_role = origin")
        proof = await house.prove()
        assert any(sentence in each for each in proof.differences), proof.differences


async def test_a_commit_that_is_rolled_back_introduces_nothing(
    postgres_dsn: str, graph_address: Address
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        way = Way(house.way.store, house.way.pool, replace(a_plan(), columns=columns))
        batch = a_batch(message("a", 1))
        await house.connection.execute(
            "ALTER TABLE store.ledger ADD CONSTRAINT never CHECK (false) NOT VALID"
        )
        with pytest.raises(QueryError, match="never"):
            await way.take(batch)
        await house.connection.execute("ALTER TABLE store.ledger DROP CONSTRAINT never")
        assert await house.connection.fetchval("SELECT count(*) FROM store.transformations") == 0
        await way.take(batch)
        assert await count(house, "DERIVES") == 4 + len(OTHERS)
