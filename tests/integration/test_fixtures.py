"""The rig keeps what it promises: every test finds its database, graph and broker fresh."""

import asyncpg
import neo4j
import pytest

from infra.local import process
from infra.local.addresses import Address
from infra.local.mosquitto import Mosquitto


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_database_per_test(turn: int, postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute("CREATE TABLE only_mine (turn int)")
        assert await connection.fetchval("SHOW server_version_num") >= "180000"
    finally:
        await connection.close()


@pytest.mark.parametrize("turn", [1, 2])
def test_an_empty_graph_per_test(turn: int, graph: Address) -> None:
    assert graph.user
    assert graph.password
    with neo4j.GraphDatabase.driver(graph.url, auth=(graph.user, graph.password)) as driver:
        session = driver.session(database=graph.database)
        with session:
            assert session.run("MATCH (n) RETURN count(n) AS n").single(strict=True)["n"] == 0
            session.run("CREATE CONSTRAINT c IF NOT EXISTS FOR (n:T) REQUIRE n.id IS UNIQUE").consume()
            session.run("CREATE (:T {id: $turn})", turn=turn).consume()


def test_a_broker_per_test_that_may_restart(mosquitto: Mosquitto, mqtt_address: Address) -> None:
    mosquitto.stop()
    assert not process.answers(mqtt_address.port)
    again = mosquitto.start()
    assert again.url == mqtt_address.url
