"""Entries of which no graph can be made, as earlier imports could write them: kept, told, and passed."""

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from console.asked.status import status
from flows.relay import _show_lag
from infra.local.addresses import Address
from infra.metrics import Metrics
from infra.settings import load
from lineage import append, fold, relay
from lineage.model import Edge, Node, NodeKind, RelationshipType, dataset_node
from lineage.openlineage.keep import DATASET, TRANSFORMATION
from lineage.projection import digest
from tests.fixtures.catalogs import SHIPPED
from tests.fixtures.commit import NOW, a_batch, message
from tests.fixtures.graph import graph_settings
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.proof import House, a_house, furnish
from tests.integration.test_fold import RUN

READINGS = "postgres:sensor_readings"
DAY = {"day": "1970-01-01", "first": 1, "last": "all", "since": 0, "until": 1 << 62}


def part(key: str, facts: Mapping[str, Any], **said: Any) -> Edge:
    """An entry as an import once wrote it."""
    node = Node(NodeKind.BATCH, key, facts)
    kind = RelationshipType.FOLDS if "day" in facts else RelationshipType.PART_OF
    return Edge(
        relationship_type=kind, source=node, target=dataset_node(READINGS), created_at=NOW, facts=said
    )


THOSE = {
    "names no dataset": part("a", {}),
    "a fact called 'key'": part("b", {"dataset": READINGS, "key": "x"}),
    "a fact called 'via'": part("c", {"dataset": READINGS}, via="x"),
    "no graph can hold": part("d", {"dataset": READINGS, "rows": 1 << 63}),
    "that no graph": part("e", {"dataset": READINGS, "rows": {"n": 1}}),
    "is no time": part("f", {"dataset": READINGS}, valid_from="abc"),
    "is too long": part("g" * 9_000, {"dataset": READINGS}),
    "that it does not name": part("h", {"dataset": READINGS, **DAY}),
}
"""A word of the reason, and the entry."""
SHOWN = part(f"{READINGS}#abc", {"dataset": READINGS, "number": "abc", "hour": "noon"})


async def write(house: House, edges: list[Edge]) -> None:
    """A commit of entries, as an import makes one."""
    async with house.way.store.work() as session, session.connection.transaction():
        number, _ = await append.next_batch(session.connection)
        span = await session.writer.append(session.connection, number, edges)
        commit = append.LedgerEntry(
            number=number,
            dataset=DATASET,
            way="record",
            transformation=TRANSFORMATION,
            run_id=None,
            at=NOW,
            received_at=NOW,
        )
        await append.write_ledger(session.connection, commit, span)
        session.writer.committed(span)


async def test_they_stop_neither_relay_nor_proof_nor_rebuild_nor_fold(
    postgres_dsn: str, graph: Address
) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        await write(house, [*THOSE.values(), SHOWN])
        await house.way.take(a_batch(message("after", 1)))
        await relay.catch_up(house.connection, house.graph)
        told = await relay.unshown(house.connection, 100)
        assert len(told) == len(THOSE) == (await relay.lag(house.connection)).unshown
        for word, entry in zip(THOSE, sorted(told, key=lambda each: each.number), strict=True):
            assert word in entry.reason
        found = await in_graph(house.graph)
        assert digest(found) == digest(await of_log(house.connection))
        assert (NodeKind.BATCH, SHOWN.source.key) in found.nodes
        proof = await house.prove()
        assert (proof.differences, len(proof.unshown)) == ((), len(THOSE))
        assert f"{len(THOSE)} of them in no graph: no differences" in proof.sentence
        entries = await house.way.value("SELECT count(*) FROM lineage_log")
        assert await relay.rebuild(house.connection, house.graph) == entries
        assert await relay.unshown(house.connection, 100) == told
        assert await relay.resume(house.connection, house.graph)
        while await fold.fold_next_day(house.connection, RUN, NOW.replace(year=NOW.year + 1)):
            pass
        await relay.catch_up(house.connection, house.graph)
        assert (await house.prove()).differences == ()


async def test_they_are_told(
    postgres_dsn: str, graph_address: Address, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in graph_settings(graph_address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADWATER_POSTGRES_DSN", postgres_dsn)
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    async with a_house(postgres_dsn, graph_address) as house:
        await write(house, list(THOSE.values()))
        await relay.catch_up(house.connection, house.graph)
        said = (await status(load(), SHIPPED)).relay_unshown
        assert len(said) == 6
        assert said[0].endswith("the Batch a names no dataset")
        assert said[-1] == f"and {len(THOSE) - 5} more"
        metrics = Metrics(CollectorRegistry())
        await _show_lag(house.connection, metrics)
        assert metrics.registry.get_sample_value("relay_unshown_entries") == len(THOSE)


async def test_an_entry_that_cannot_be_read_stops_nothing(postgres_dsn: str, graph_address: Address) -> None:
    """Of a kind that a later version has, or made by hand."""
    async with a_house(postgres_dsn, graph_address) as house:
        await furnish(house)
        await house.tamper("lineage_log", "UPDATE store.lineage_log SET source_kind = 'New' WHERE number = 2")
        await relay.catch_up(house.connection, house.graph)
        assert (await relay.lag(house.connection)) == relay.Lag(0, None, 1)
        assert any("cannot be read any more" in each for each in (await house.prove()).differences)
        await house.way.take(a_batch(message("after", 1)))
        await relay.catch_up(house.connection, house.graph)
        assert digest(await in_graph(house.graph)) == digest(await of_log(house.connection))
