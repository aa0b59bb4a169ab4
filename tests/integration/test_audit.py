"""The audits give the same answers on both graphs, whole or with the true total."""

import re
from pathlib import Path

import pytest

from infra.local.addresses import Address
from lineage import relay
from lineage.audit import ask, find, parse
from tests.fixtures.commit import a_batch, message
from tests.fixtures.proof import House, a_house, furnish

README = Path(__file__).parents[2] / "README.md"
STORED = "postgres:sensor_readings"
RAW = "postgres:raw_batches"
SOURCE = "mqtt:sensors/+/readings"


async def carried(house: House) -> None:
    await furnish(house)
    await relay.catch_up(house.connection, house.graph)


async def test_upstream_and_downstream(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        up = await ask(house.graph, find("upstream"), {"key": f"{STORED}#2"})
        assert up.columns == ("key", "kind", "dataset", "rows", "steps")
        assert up.rows == (
            (f"{RAW}#2", "Batch", RAW, 2, 1),
            (f"{SOURCE}#2", "Batch", SOURCE, None, 2),
        )
        assert (up.total, up.cut) == (2, False)
        near = await ask(house.graph, find("upstream"), {"key": f"{STORED}#2", "depth": "1"})
        assert [row[0] for row in near.rows] == [f"{RAW}#2"]
        down = await ask(house.graph, find("downstream"), {"key": f"{SOURCE}#1"})
        assert [(row[0], row[4]) for row in down.rows] == [
            (f"{RAW}#1", 1),
            ("postgres:rejected#1", 2),
            (f"{STORED}#1", 2),
        ]
        datasets = await ask(house.graph, find("upstream"), {"key": STORED})
        assert datasets.rows == ((RAW, "Dataset", RAW, None, 1), (SOURCE, "Dataset", SOURCE, None, 2)) or {
            row[0] for row in datasets.rows
        } == {RAW, SOURCE, "opentrons:robot/runs"}
        nothing = await ask(house.graph, find("upstream"), {"key": "postgres:sensor_readings#99"})
        assert (nothing.rows, nothing.total, nothing.columns) == ((), 0, up.columns)


async def test_the_readmes_question_by_hand_has_an_answer(postgres_dsn: str, graph: Address) -> None:
    (question,) = re.findall(r"^```cypher\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        rows = await house.graph.read(question, {})
    assert list(rows[-1].values()) == [f"{SOURCE}#1", f"{RAW}#1", f"{STORED}#1"]


async def test_orphans(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)  # among them a batch of duplicates only
        assert (await ask(house.graph, find("orphans"))).rows == ()
        await house.in_graph(f"MATCH ()-[r:FEEDS]->(:Batch {{key: '{STORED}#2'}}) DELETE r")
        assert (await ask(house.graph, find("orphans"))).rows == ((f"{STORED}#2", STORED, 2, 2),)


async def test_a_long_answer_says_its_true_length(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        for second in range(12):
            await house.way.take(a_batch(message("a", second)))
        await relay.catch_up(house.connection, house.graph)
        everything = parse("all", "// Which?\nMATCH (b:Batch) RETURN b.key AS key ORDER BY key")
        whole = await ask(house.graph, everything)
        some = await ask(house.graph, everything, limit=5)
        assert (whole.total, whole.cut, len(whole.rows)) == (36, False, 36)
        assert (some.total, some.cut, some.rows) == (36, True, whole.rows[:5])


async def test_a_value_is_never_cypher(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        answer = await ask(house.graph, find("upstream"), {"key": "x'}) DETACH DELETE n //"})
        assert answer.total == 0
        assert (await house.prove()).ok


@pytest.mark.parametrize("name", ["upstream", "downstream"])
async def test_many_ways_to_one_batch_do_not_explode(postgres_dsn: str, graph: Address, name: str) -> None:
    """A ladder of diamonds has 2^14 paths from end to end and 43 batches."""
    async with a_house(postgres_dsn, graph) as house:
        rungs = range(14)
        await house.in_graph(
            "UNWIND range(0, 14) AS i CREATE (:Batch {key: 'k' + toString(i), dataset: 'd'})"
        )
        for i in rungs:
            await house.graph.write(
                [
                    (
                        "MATCH (a:Batch {key: $a}) MATCH (b:Batch {key: $b}) "
                        "CREATE (l:Batch {key: $l, dataset: 'd'}), (r:Batch {key: $r, dataset: 'd'}), "
                        "(a)-[:FEEDS]->(l), (a)-[:FEEDS]->(r), (l)-[:FEEDS]->(b), (r)-[:FEEDS]->(b)",
                        {"a": f"k{i}", "b": f"k{i + 1}", "l": f"l{i}", "r": f"r{i}"},
                    )
                ]
            )
        answer = await ask(
            house.graph, find(name), {"key": "k14" if name == "upstream" else "k0", "depth": 50}
        )
        assert answer.total == 42
