"""The relay: at least once, in order, one at a time, and as fast on a long log as on a short one."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from infra.endpoints import GraphEndpoint
from infra.graph import BoltGraph, open_graph
from infra.local.addresses import Address
from infra.postgres import Connection
from lineage import graph as graphs
from lineage import relay, seal
from lineage.errors import UnavailableError
from lineage.projection import digest
from tasks.load.store import Store
from tests.fixtures.commit import Way, a_batch, a_plan, message
from tests.fixtures.graph import endpoint_of
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.postgres import a_connection
from tests.fixtures.proof import House, a_house


async def expected(house: House) -> int:
    return digest(await of_log(house.connection))


async def commit(house: House, batches: int) -> None:
    """Every batch by a writer of its own, all with the same dataset nodes."""
    for second in range(batches):
        await house.way.take(a_batch(message("a", second), message("b", second, pressure=1)))
        house.way.store.discard()


async def drain(connection: Connection, graph: BoltGraph) -> int:
    carried = 0
    while (round_ := await relay.carry(connection, graph)).entries:
        carried += round_.entries
    return carried


async def test_two_relays_at_once_do_no_harm(
    postgres_dsn: str, graph: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "PAGE", 3)
    async with (
        a_house(postgres_dsn, graph) as house,
        a_connection(postgres_dsn) as one,
        a_connection(postgres_dsn) as two,
    ):
        await commit(house, 12)
        carried = await asyncio.gather(drain(one, house.graph), drain(two, house.graph))
        assert sum(carried) == await house.way.value("SELECT count(*) FROM lineage_log")
        assert all(carried)  # each had its turns
        assert digest(await in_graph(house.graph)) == await expected(house)


async def test_whoever_merges_the_same_nodes_beside_the_relay_is_told_to_try_again(
    postgres_dsn: str, graph: Address
) -> None:
    """A relay cut off from Postgres has lost its lock and may still be writing."""
    async with a_house(postgres_dsn, graph) as house:
        await commit(house, 12)
        await relay.seal_all(house.connection)
        everything = await of_log(house.connection)

        async def write() -> None:
            for _ in range(20):
                try:
                    return await graphs.write(house.graph, everything)
                except UnavailableError:
                    await asyncio.sleep(0.05)
            raise AssertionError("twenty tries were not enough")

        await asyncio.gather(*(write() for _ in range(4)))
        assert digest(await in_graph(house.graph)) == await expected(house)


class Killed(BaseException):
    """The end of a process, as far as its code can tell."""


class DiesAfterWriting:
    """A graph whose client dies once the graph has committed."""

    def __init__(self, graph: BoltGraph) -> None:
        self._graph = graph

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)

    async def write(self, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        await self._graph.write(statements)
        raise Killed


async def test_neo4j_has_nothing_to_remark(neo4j_address: Address, caplog: pytest.LogCaptureFixture) -> None:
    async with open_graph(endpoint_of(neo4j_address)) as graph:
        await graphs.migrate(graph)
        await graphs.migrate(graph)  # everything is there already
        assert await graph.read("MATCH (n:NoSuchLabel) RETURN n.no_such_property", {}) == []
    assert [record for record in caplog.records if record.name.startswith("neo4j")] == []


async def test_killed_between_the_graph_and_the_cursor_nothing_is_lost_or_doubled(
    postgres_dsn: str, graph: Address
) -> None:
    async with a_house(postgres_dsn, graph) as house, a_connection(postgres_dsn) as dying:
        await commit(house, 3)
        entries = await house.way.value("SELECT count(*) FROM lineage_log")
        with pytest.raises(Killed):
            await relay.carry(dying, DiesAfterWriting(house.graph))
        dying.terminate()
        assert (await relay.lag(house.connection)).entries == entries
        assert await drain(house.connection, house.graph) == entries
        assert digest(await in_graph(house.graph)) == await expected(house)
        assert (await house.prove()).ok


async def test_with_the_graph_away_nothing_is_lost(postgres_dsn: str, graph_address: Address) -> None:
    nowhere = GraphEndpoint(uri="bolt://127.0.0.1:9", user=None, password=None, database=None, ca=None)
    async with a_house(postgres_dsn, graph_address) as house, open_graph(nowhere) as away:
        await commit(house, 2)
        before = await relay.lag(house.connection)
        with pytest.raises(UnavailableError, match="The graph is unavailable"):
            await relay.carry(house.connection, away)
        after = await relay.lag(house.connection)
        assert after.entries == before.entries > 0
        assert before.oldest is not None  # made then, and sealed since
        assert after.oldest is not None
        assert after.oldest - before.oldest < timedelta(seconds=30)
        assert await drain(house.connection, house.graph) == before.entries
        assert await relay.lag(house.connection) == relay.Lag(0, None)


async def test_a_new_relay_goes_on_from_the_cursors(postgres_dsn: str, graph_address: Address) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commit(house, 2)
        first = await drain(house.connection, house.graph)
        await graphs.clear(house.graph)
        await commit(house, 1)
        async with a_connection(postgres_dsn) as other:
            assert 0 < await drain(other, house.graph) < first
        keys = {key for (_, key) in (await in_graph(house.graph)).nodes}
        assert "mqtt:sensors/+/readings#3" in keys
        assert "mqtt:sensors/+/readings#1" not in keys


async def test_a_busy_writer_starves_nobody(
    postgres_dsn: str, graph_address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "PAGE", 4)
    async with (
        a_house(postgres_dsn, graph_address) as house,
        Store(postgres_dsn, house.way.pool, application="late") as late,
    ):
        async with house.way.store.work() as busy, late.work() as quiet:
            assert busy.writer.id < quiet.writer.id
        await Way(late, house.way.pool, a_plan()).take(a_batch(message("z", 1)))
        for second in range(5):
            await house.way.take(a_batch(message("c", second)))
        rounds = [await relay.carry(house.connection, house.graph) for _ in range(2)]
        assert all(each.behind for each in rounds), "a full seal says that more may wait"
        carried = f"SELECT min(seal) FROM store.lineage_spans WHERE writer = {quiet.writer.id}"
        assert await house.way.value(carried) == 2, "the busy one had its turn, and was first by its number"


async def test_what_waits_is_told_so_that_only_an_idle_relay_pauses(
    postgres_dsn: str, graph_address: Address
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commit(house, 1)
        await seal.seal(house.connection)
        await commit(house, 1)
        rounds = [await relay.carry(house.connection, house.graph) for _ in range(3)]
        assert [each.behind for each in rounds] == [True, True, False]
        assert rounds[2].entries == 0
        await commit(house, 1)
        assert not (await relay.carry(house.connection, house.graph)).behind


LOG = """
INSERT INTO store.lineage_writers (application) SELECT 'many' FROM generate_series(1, 200);
INSERT INTO store.lineage_log (writer, number, batch, relationship_type, source_kind, source_key,
    source_facts, target_kind, target_key, target_facts, created_at, facts, hash)
SELECT writer, number, writer * 500 + number, 'FEEDS', 'Batch', 'a', '{}', 'Batch', 'b', '{}', now(), '{}', ''
FROM store.lineage_writers, generate_series(1, 500) AS number;
INSERT INTO store.lineage_spans (seal, writer, first, last, head)
SELECT writer * 500 + last / 100, writer, last - 99, last, '' FROM store.lineage_writers,
    (SELECT 100 * generate_series(1, 5) AS last) ends WHERE writer % 50 > 0 OR last < 500;
ANALYZE store.lineage_log; ANALYZE store.lineage_writers; ANALYZE store.lineage_spans;
"""


async def test_looking_for_what_is_behind_never_scans_the_log(postgres_dsn: str) -> None:
    """100,000 entries of 200 writers: two looks into the index for each, whatever the length of the log."""
    async with a_connection(postgres_dsn) as connection:
        await connection.execute(LOG)
        assert (await relay.lag(connection)).entries == 4 * 100
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {seal.UNSEALED}")
        scans = [node for node in _nodes(json.loads(plan)[0]["Plan"]) if _reads_the_log(node)]
        assert scans
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 2 * 200


async def test_a_writer_that_is_gone_is_not_asked_again(postgres_dsn: str, graph_address: Address) -> None:
    """Only once all it committed is sealed, and never one whose connection stands."""
    async with a_house(postgres_dsn, graph_address) as house:
        await commit(house, 2)
        await house.way.take(a_batch(message("x", 1)))  # this writer's connection stands
        ended = "SELECT writer FROM store.lineage_writers WHERE ended_at IS NOT NULL ORDER BY writer"
        await seal.end_writers(house.connection)
        assert await house.connection.fetch(ended) == []  # nothing is sealed yet
        await drain(house.connection, house.graph)
        await seal.end_writers(house.connection)
        assert [row["writer"] for row in await house.connection.fetch(ended)] == [1, 2]
        await house.way.take(a_batch(message("x", 2)))
        assert await drain(house.connection, house.graph) > 0
        assert (await house.prove()).ok


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


def _reads_the_log(node: dict[str, Any]) -> bool:
    return node.get("Relation Name") == "lineage_log"
