"""What is imported can only add: whatever it says, everything of ours stands in the graph as without it."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from infra.local.addresses import Address
from lineage import relay, seal
from lineage.audit import ask, find
from lineage.commits import read_commits, run_names
from lineage.openlineage.export import Known, export
from lineage.openlineage.keep import Imported, import_events
from lineage.openlineage.listing import list_events
from lineage.openlineage.names import Names
from tests.fixtures.commit import a_batch, a_plan, message
from tests.fixtures.forging import AT, READINGS, batch, code, entry, event, node, sent
from tests.fixtures.lineage import in_graph
from tests.fixtures.ours import assert_ours_stands
from tests.fixtures.postgres import PostgresServer, _fresh
from tests.fixtures.proof import House, a_house, furnish

NAMES = Names({"postgres": "postgres://lab-db:5432/headwater", "mqtt": "mqtt://broker:1883"})
COLUMN = f"{READINGS}.temperature"
LAB = {"namespace": "postgres://lab-db:5432", "name": "headwater.public.sensor_readings"}


def schema(*columns: str) -> dict[str, object]:
    return {"schema": {"fields": [{"name": column} for column in columns]}}


ATTACKS: dict[str, Callable[[], list[bytes]]] = {
    "rows told anew": lambda: [sent(entry("FEEDS", batch(2, "postgres:raw_batches"), batch(2, rows=999)))],
    "rows renumbered": lambda: [
        sent(
            entry(
                "PART_OF",
                node("Batch", f"{READINGS}#2", dataset=READINGS, number=7),
                node("Dataset", READINGS),
            )
        )
    ],
    "a key renamed": lambda: [
        sent(
            entry(
                "PART_OF",
                node("Batch", f"{READINGS}#2", dataset=READINGS, key="x"),
                node("Dataset", READINGS),
            )
        )
    ],
    "a number that is none": lambda: [sent(entry("PART_OF", batch("abc"), node("Dataset", READINGS)))],
    "a day folded": lambda: [
        sent(
            entry(
                "FOLDS",
                node(
                    "Batch",
                    f"{READINGS}#day:1970-01-01",
                    dataset=READINGS,
                    day="1970-01-01",
                    first=1,
                    last=1 << 62,
                    since=0,
                    until=1 << 62,
                    batches=1,
                    rows=0,
                ),
                node("Dataset", READINGS),
            )
        )
    ],
    "a version out of force": lambda: [
        sent(entry("SUPERSEDES", code("sensors", "eve"), code("sensors", "0"), created_at=AT * 2))
    ],
    "a run of ours, otherwise": lambda: [
        event(run=str(a_plan().run.id)),
        sent(
            entry(
                "RAN",
                node("Run", str(a_plan().run.id), kind="flow", name="eve", started_at=0),
                code("sensors", "0"),
            )
        ),
    ],
    "columns, since 1990": lambda: [
        event(inputs=[{**LAB, "facets": schema("temperature", "humidity")}]),
        event(run=str(UUID(int=8)), outputs=[{**LAB, "facets": schema("temperature")}]),
    ],
    "another dataset's column of the same key": lambda: [
        event(inputs=[{"namespace": "headwater", "name": "mqtt:sensors", "facets": schema("a.b")}]),
        event(
            run=str(UUID(int=9)),
            inputs=[{"namespace": "headwater", "name": "mqtt:sensors.a", "facets": schema("b")}],
        ),
        event(
            run=str(UUID(int=10)),
            inputs=[{"namespace": "headwater", "name": "mqtt:sensors/+", "facets": schema("x")}],
        ),
    ],
    "our code and our datasets": lambda: [
        sent(
            entry(
                "FEEDS",
                node("Dataset", "mqtt:sensors/+/readings"),
                node("Dataset", "postgres:raw_batches"),
                transformation_id="sensors@0",
                facts={"valid_from": -1},
            )
        )
    ],
}


async def take(house: House, documents: list[bytes], names: Names = NAMES) -> Imported:
    async with house.way.store.work() as session:
        return await import_events(session.connection, session.writer, documents, names)


@pytest.fixture
async def house(postgres_dsn: str, graph_address: Address) -> AsyncIterator[House]:
    async with a_house(postgres_dsn, graph_address) as house:
        yield house


@pytest.mark.parametrize("kind", ATTACKS)
async def test_nothing_of_ours_is_changed_or_taken_away(house: House, kind: str) -> None:
    """The event comes before what it speaks of, in the same seal, and again afterwards."""
    documents = ATTACKS[kind]()
    await take(house, documents)
    await furnish(house)
    await assert_ours_stands(house)
    before = (await ask(house.graph, find("column-upstream"), {"column": COLUMN})).rows
    assert before
    again = [each.replace(b"0000000f001", b"0000000f002").replace(b'"eve"', b'"eva"') for each in documents]
    assert (await take(house, again)).again == 0
    await house.way.take(a_batch(message("after", 1)))
    await assert_ours_stands(house)
    assert (await ask(house.graph, find("column-upstream"), {"column": COLUMN})).rows == before
    assert (await relay.lag(house.connection)) == relay.Lag(0, None)


async def test_all_at_once_on_both_graphs(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await furnish(house)
        await relay.catch_up(house.connection, house.graph)
        await take(house, [document for attack in ATTACKS.values() for document in attack()])
        await assert_ours_stands(house)
        await relay.rebuild(house.connection, house.graph)
        await assert_ours_stands(house)


async def test_what_was_told_of_others_stays_as_it_was_first_told(house: House) -> None:
    """A sender, or somebody in its name, says something else of the same batch, run and columns."""
    told = entry("FEEDS", batch(2, "postgres:raw_batches"), batch(2, rows=3), transformation_id="sensors@0")
    await take(house, [sent(told), event(), event(run=str(UUID(int=5)))])
    await relay.catch_up(house.connection, house.graph)
    before = await in_graph(house.graph)
    assert any(facts.get("target_rows") == 3 for facts in before.relationships.values())
    other = json.loads(json.dumps(told).replace('"rows": 3', '"rows": 4'))
    named = {"namespace": "headwater", "name": "another"}
    await take(house, [sent(other), event(job=named), event(eventTime="1980-01-01T00:00:00Z")])
    await relay.catch_up(house.connection, house.graph)
    after = await in_graph(house.graph)
    assert {identity: after.nodes[identity] for identity in before.nodes} == before.nodes
    assert {each: after.relationships[each] for each in before.relationships} == before.relationships
    assert (await house.prove()).differences == ()


async def told_by(house: House) -> list[bytes]:
    """What a furnished house tells, with the name of its store."""
    await furnish(house)
    known = Known(runs=await run_names(house.connection))
    commits = [commit async for commit in read_commits(house.connection)]
    return [json.dumps(each).encode() for each in export(commits, await named(house), known)]


async def named(house: House) -> Names:
    return replace(NAMES, store=await seal.identity(house.connection))


async def test_our_own_export_comes_back_and_adds_nothing(house: House) -> None:
    told = await told_by(house)
    await relay.catch_up(house.connection, house.graph)
    before = await in_graph(house.graph)
    done = await take(house, told, await named(house))
    assert (done.bad, done.edges, done.new) == ((), 0, len(told))
    await relay.catch_up(house.connection, house.graph)
    after = await in_graph(house.graph)
    assert {key for _, key in after.nodes.keys() - before.nodes.keys()} == {
        "events:openlineage",
        f"events:openlineage#{done.batches[0]}",
        "openlineage.import@1",
    }
    assert {each: after.relationships[each] for each in before.relationships} == before.relationships
    listed = await list_events(house.connection, 100)
    assert {facet.name for each in listed.events for facet in each.facets} == {"headwater_lineage"}
    await assert_ours_stands(house)


async def test_another_houses_export_stays_apart(
    postgres_dsn: str, second_dsn: str, graph_address: Address
) -> None:
    """Both have the same names for everything, as two default installations have."""
    async with a_house(postgres_dsn, graph_address) as house:
        told, store = await told_by(house), (await named(house)).store.split("/")[0]
    async with a_house(second_dsn, graph_address) as other:
        await furnish(other)
        done = await take(other, told, await named(other))
        assert (done.bad, done.edges > 20) == ((), True)
        await assert_ours_stands(other)
        theirs = "MATCH (n:Batch) WHERE n.key STARTS WITH 'headwater:' AND n.key ENDS WITH $end"
        (row,) = await other.graph.read(f"{theirs} RETURN n.key AS key", {"end": "sensor_readings#1"})
        assert store in row["key"]
        assert (await ask(other.graph, find("upstream"), {"key": row["key"]})).total == 1


@pytest.fixture
def second_dsn(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    yield from _fresh(postgres_server, postgres_template)
