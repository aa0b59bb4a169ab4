"""The audits give the same answers on both graphs, whole or with the true total."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from infra.local.addresses import Address
from lineage import relay
from lineage.append import LedgerEntry, next_batch, write
from lineage.audit import ask, audits, find, parse
from lineage.bucket import Bucket
from lineage.columns import ColumnEdge, Kind, Subtype
from lineage.errors import HeadwaterError, NotFoundError, QueryError
from lineage.model import (
    RelationshipType,
    Run,
    Transformation,
    batch_node,
    bucket_node,
    micros,
    run_node,
)
from lineage.query import run
from lineage.recorder import record
from tasks.transform.columns import opaque
from tests.fixtures.commit import CONTRACT, Way, a_batch, a_plan, message
from tests.fixtures.proof import House, a_house, furnish

README = Path(__file__).parents[2] / "README.md"
STORED = "postgres:sensor_readings"
SOURCE = "mqtt:sensors/+/readings"


async def carried(house: House) -> None:
    await furnish(house)
    await relay.catch_up(house.connection, house.graph)


async def test_upstream_and_downstream(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        up = await ask(house.graph, find("upstream"), {"key": f"{STORED}#2"})
        assert up.columns == ("key", "dataset", "rows")
        assert up.rows == ((f"{SOURCE}#2", SOURCE, 2),)
        assert (up.total, up.cut) == (1, False)
        down = await ask(house.graph, find("downstream"), {"key": f"{SOURCE}#1"})
        assert {row[0] for row in down.rows} == {"postgres:rejected#1", f"{STORED}#1"}
        datasets = await ask(house.graph, find("upstream"), {"key": STORED})
        assert {row[0] for row in datasets.rows} == {SOURCE}


async def test_a_batch_holds_since_it_was_received(postgres_dsn: str, graph: Address) -> None:
    """It came an hour before it was committed: then it was valid, and not known."""
    hour, then = timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
    async with a_house(postgres_dsn, graph) as house:
        batch = replace(a_batch(message("a", 1)), received_at=then, received_until=then)
        await house.way.take(batch)
        await relay.catch_up(house.connection, house.graph)
        for key in (f"{STORED}#1", STORED):

            async def found(asked: str = key, **when: datetime) -> int:
                return (await ask(house.graph, find("upstream"), {"key": asked}, **when)).total

            assert await found() == 1
            assert await found(valid_at=then + hour / 2) == 1
            assert await found(valid_at=then - hour / 2) == 0
            assert await found(valid_at=then + hour / 2, known_at=then + hour / 2) == 0


@pytest.mark.parametrize("name", ["upstream", "blame", "column-upstream"])
async def test_what_is_not_there_is_told(postgres_dsn: str, graph: Address, name: str) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        audit = find(name)
        with pytest.raises(NotFoundError, match="holds nothing named 'postgres:nope'"):
            await ask(house.graph, audit, {audit.parameters[0].name: "postgres:nope"})


def version(house: House, number: str, source: str) -> Way:
    """The pipeline, with a version of its transformation that makes the temperature from `source`."""
    house.way.store.discard()

    def columns(dataset: str) -> dict[str, tuple[ColumnEdge, ...]]:
        edge = ColumnEdge(dataset, source, "temperature", Kind.DIRECT, Subtype.TRANSFORMATION, False)
        return {
            "sensor_readings": (edge, *opaque(dataset, [n for n in CONTRACT.names if n != "temperature"]))
        }

    plan = replace(a_plan(), transformation=Transformation(name="sensors", version=number), columns=columns)
    return Way(house.way.store, house.way.pool, plan)


async def test_the_past_is_not_forgotten(postgres_dsn: str, graph: Address) -> None:
    """Version 2 makes the temperature of something else: the present knows 2 alone, the past 1."""
    column = {"column": f"{STORED}.temperature"}
    async with a_house(postgres_dsn, graph) as house:

        async def sources(**when: datetime) -> list[str]:
            answer = await ask(house.graph, find("column-upstream"), column, **when)
            return [row[0].removeprefix(f"{SOURCE}.") for row in answer.rows]

        await version(house, "1", "kelvin").take(a_batch(message("a", 1)))
        await relay.catch_up(house.connection, house.graph)
        first = datetime.now(UTC)
        assert await sources() == ["kelvin"]
        await version(house, "2", "celsius").take(a_batch(message("a", 2)))
        second = datetime.now(UTC)
        assert await sources() == ["kelvin"]  # the graph does not know yet
        await relay.catch_up(house.connection, house.graph)
        assert await sources() == ["celsius"]
        assert await sources(valid_at=first) == ["kelvin"]
        assert await sources(known_at=first) == ["kelvin"]
        assert await sources(valid_at=second) == ["celsius"]
        assert await sources(known_at=second) == ["kelvin"]  # valid then, and known only later
        await version(house, "1", "kelvin").take(a_batch(message("a", 3)))  # back again
        await relay.catch_up(house.connection, house.graph)
        assert await sources() == ["kelvin"]
        assert await sources(valid_at=second) == ["celsius"]
        blamed = await ask(house.graph, find("blame"), {"key": f"{STORED}#2"})
        assert [row[0] for row in blamed.rows] == ["sensors@2"]
        down = await ask(house.graph, find("column-downstream"), {"column": f"{SOURCE}.kelvin"})
        assert [row[0] for row in down.rows] == [f"{STORED}.temperature"]
        past = await ask(house.graph, find("upstream"), {"key": f"{STORED}#3"}, known_at=second)
        assert past.rows == ()
        assert (await ask(house.graph, find("upstream"), {"key": f"{STORED}#3"})).total == 1
        changed = {"since": first.isoformat(), "until": datetime.now(UTC).isoformat()}
        rows = (await ask(house.graph, find("changed"), changed)).rows
        assert ("SUPERSEDES", "sensors", "sensors", 2) in rows
        assert (await house.prove()).ok


async def test_every_audit_answers_on_this_graph(postgres_dsn: str, graph: Address) -> None:
    """With one of every kind of commit; each knows the end of time and a time before everything."""
    given = {
        "key": f"{STORED}#1",
        "column": f"{STORED}.temperature",
        "source": SOURCE,
        "target": STORED,
        "device": "a",
        "experiment": "one",
        "since": "2020-01-01",
        "until": "2100-01-01",
        "proved": "2020-01-01",
    }
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        await house.in_graph(
            "MATCH (one:Subject {key: 'experiment:one'}), (two:Subject {key: 'experiment:two'}) "
            "CREATE (tips:Subject {key: 'labware:tips', kind: 'labware', id: 'tips'}), "
            "(one)-[:USED {via: '', known_at: 1, valid_from: 1}]->(tips), "
            "(two)-[:USED {via: '', known_at: 1, valid_from: 1}]->(tips)"
        )
        for audit in audits():
            values = {
                parameter.name: given.get(parameter.name, parameter.default) for parameter in audit.parameters
            }
            answer = await ask(house.graph, audit, {k: v for k, v in values.items() if v is not None})
            if audit.name not in ("orphans", "cycles", "sinks", "downstream", "column-downstream"):
                assert answer.rows, audit.name
            past = await ask(house.graph, audit, values, known_at=long_ago)
            if audit.name != "shared":  # this test's labware has always been known
                assert past.rows == (), audit.name
        rejected = await ask(house.graph, find("rejected"))
        assert rejected.columns == ("source", "batches", "records")
        stored = await house.connection.fetchval("SELECT sum(rejected)::int FROM ledger")
        assert sum(row[2] for row in rejected.rows) == stored
        shared = await ask(house.graph, find("shared"), {"experiment": "one"})
        assert shared.rows == (("labware", "tips", ["two"]),)
        path = await ask(house.graph, find("path"), {"source": SOURCE, "target": STORED})
        assert path.rows == (([SOURCE, STORED], 1),)


async def test_a_cycle_and_a_sink_are_found(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        edge = "{via: '', known_at: 1, valid_from: 1, created_at: 1, transformation_id: 't'}"
        await house.in_graph(
            f"MATCH (a:Dataset {{key: '{STORED}'}}), (b:Dataset {{key: '{SOURCE}'}}) "
            f"CREATE (a)-[:FEEDS {edge}]->(b)"
        )
        sinks = await ask(house.graph, find("sinks"))
        assert [row[:3] for row in sinks.rows] == [(STORED, SOURCE, "t")]
        cycles = await ask(house.graph, find("cycles"))
        assert {(row[0], row[1]) for row in cycles.rows} == {(STORED, 2), (SOURCE, 2)}


async def test_a_question_that_takes_too_long_is_stopped(postgres_dsn: str, graph: Address) -> None:
    many = " ".join(f"UNWIND range(1, 3000) AS {name}" for name in "abc")
    slow = f"{many} RETURN count(*) AS n"
    async with a_house(postgres_dsn, graph) as house:
        with pytest.raises(HeadwaterError):
            await run(house.graph, "query", slow, {}, seconds=1)
        answer = await run(house.graph, "query", "MATCH (n:Batch) RETURN count(n) AS batches", {}, seconds=30)
        assert answer.rows == ((0,),)


@pytest.mark.parametrize(
    "statement",
    [
        "TERMINATE TRANSACTIONS 'neo4j-transaction-1'",
        "SHOW TRANSACTIONS YIELD transactionId AS id TERMINATE TRANSACTIONS id YIELD message RETURN message",
        "UNWIND [1] AS x // a\rCREATE (:Stray)\nRETURN x",
        "CALL { CREATE (n:Stray) RETURN n } RETURN n",
        "LOAD CSV FROM 'http://127.0.0.1:9/' AS row RETURN row",
        "CALL db.labels()",
    ],
)
async def test_nothing_but_a_question_is_sent_and_a_write_is_rolled_back(
    postgres_dsn: str, graph: Address, statement: str
) -> None:
    """The second by the engine alone, for what the first does not know."""
    async with a_house(postgres_dsn, graph) as house:
        with pytest.raises(QueryError, match=r"The query was not run: .*, and it may only read\."):
            await run(house.graph, "The query", statement, {})
        with pytest.raises(QueryError):
            async for _ in house.graph.stream("CREATE (n:Stray {key: 'x'}) RETURN n.key AS key"):
                pass
        assert await house.graph.read("MATCH (n) RETURN count(n) AS n", {}) == [{"n": 0}]


async def test_the_readmes_question_by_hand_has_an_answer(postgres_dsn: str, graph: Address) -> None:
    (question,) = re.findall(r"^```cypher\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        rows = await house.graph.read(question, {})
    assert list(rows[-1].values()) == [f"{SOURCE}#1", f"{STORED}#1"]


async def test_a_question_without_times_is_not_answered_about_the_past(
    postgres_dsn: str, graph_address: Address
) -> None:
    mine = parse("mine", "// Which?\nMATCH (b:Batch) RETURN b.key AS key")
    async with a_house(postgres_dsn, graph_address) as house:
        await carried(house)
        assert (await ask(house.graph, mine)).rows
        with pytest.raises(QueryError, match="mine tells of now alone"):
            await ask(house.graph, mine, known_at=datetime(2020, 1, 1, tzinfo=UTC))


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
        assert (whole.total, whole.cut, len(whole.rows)) == (24, False, 24)
        assert (some.total, some.cut, some.rows) == (24, True, whole.rows[:5])
        named = "coalesce(b.no, 'x, y') AS text, [b.key][0] AS key"
        odd = f"// Which?\nMATCH (b:Batch) RETURN {named} ORDER BY key // so"
        assert (await ask(house.graph, parse("odd", odd))).rows == tuple(("x, y", *row) for row in whole.rows)
        unnamed = parse("unnamed", "// Which?\nMATCH (b:Batch) RETURN b.key ORDER BY b.key")
        assert (await ask(house.graph, unnamed)).rows == whole.rows


async def test_a_value_is_never_cypher(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await carried(house)
        with pytest.raises(NotFoundError):
            await ask(house.graph, find("upstream"), {"key": "x'}) DETACH DELETE n //"})
        assert (await house.prove()).ok


@pytest.mark.parametrize("name", ["upstream", "downstream"])
async def test_many_ways_to_one_batch_do_not_explode(postgres_dsn: str, graph: Address, name: str) -> None:
    """A ladder of diamonds has 2^40 paths from end to end and 121 batches."""
    async with a_house(postgres_dsn, graph) as house:
        rungs = range(40)
        await house.in_graph(
            "UNWIND range(0, 40) AS i CREATE (:Batch {key: 'k' + toString(i), dataset: 'd'})"
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
        answer = await ask(house.graph, find(name), {"key": "k40" if name == "upstream" else "k0"})
        assert answer.total == 120


async def test_a_long_way_is_told_to_its_end(postgres_dsn: str, graph: Address) -> None:
    """A chain of 40 columns, and one of 40 datasets."""
    facts = "{via: 't@1', transformation_id: 't@1', valid_from: 1, known_at: 1, direct: 'IDENTITY'}"
    async with a_house(postgres_dsn, graph) as house:
        await house.in_graph("CREATE (:Transformation {key: 't@1'})")
        for kind, carries in (("Column", "DERIVES"), ("Dataset", "FEEDS")):
            await house.in_graph(f"UNWIND range(0, 40) AS i CREATE (:{kind} {{key: '{kind}' + toString(i)}})")
            await house.in_graph(
                f"UNWIND range(0, 39) AS i MATCH (a:{kind} {{key: '{kind}' + toString(i)}}) "
                f"MATCH (b:{kind} {{key: '{kind}' + toString(i + 1)}}) CREATE (a)-[:{carries} {facts}]->(b)"
            )
        for name, column, last in (
            ("column-upstream", "Column40", "Column0"),
            ("column-downstream", "Column0", "Column40"),
        ):
            answer = await ask(house.graph, find(name), {"column": column})
            assert answer.total == 40
            assert answer.rows[-1] == (last, "Column", True, False, 40)
        path = await ask(house.graph, find("path"), {"source": "Dataset0", "target": "Dataset40"})
        assert path.rows == (([f"Dataset{i}" for i in range(41)], 40),)


async def test_a_cycle_of_any_length_is_found(postgres_dsn: str, graph: Address) -> None:
    """One of 14 datasets, with a diamond in it, a longer way round and one that feeds itself."""
    facts = "{via: '', known_at: 10, valid_from: 10, created_at: 10}"
    pairs = [(i, (i + 1) % 14) for i in range(14)] + [(3, 20), (20, 5), (3, 21), (21, 22), (22, 4), (30, 30)]
    async with a_house(postgres_dsn, graph) as house:
        keys = sorted({key for pair in pairs for key in pair})
        await house.in_graph(f"UNWIND {keys} AS i CREATE (:Dataset {{key: 'd' + toString(i)}})")
        await house.in_graph(
            f"UNWIND {[list(pair) for pair in pairs]} AS p MATCH (a:Dataset {{key: 'd' + toString(p[0])}}) "
            f"MATCH (b:Dataset {{key: 'd' + toString(p[1])}}) CREATE (a)-[:FEEDS {facts}]->(b)"
        )
        later = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1)
        for when in ({}, {"known_at": later}):
            answer = await ask(house.graph, find("cycles"), **when)
            steps = {row[0]: row[1] for row in answer.rows}
            assert steps == {
                **{f"d{i}": 14 for i in (*range(14), 20)},
                "d21": 16,
                "d22": 16,
                "d30": 1,
            }
            path = {row[0]: row[2] for row in answer.rows}
            assert path["d20"] == ["d20", *(f"d{i}" for i in (*range(5, 14), 0, 1, 2, 3)), "d20"]
        assert (await ask(house.graph, find("cycles"), known_at=datetime(1970, 1, 1, tzinfo=UTC))).rows == ()


async def test_an_hour_that_is_made_again_is_fresh(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        hourly = bucket_node("postgres:readings_hourly", datetime(2026, 11, 20, 10, tzinfo=UTC), Bucket.HOUR)

        async def made(number: int) -> None:
            feeds = [(RelationshipType.FEEDS, batch_node(STORED, number), hourly)]
            run = Run(id=uuid4(), kind="flow", name="aggregates", started_at=datetime.now(UTC))
            at = datetime(2026, 11, 20, 11 + number, tzinfo=UTC)
            async with house.connection.transaction():
                commit = LedgerEntry(
                    number=(await next_batch(house.connection)).number,
                    dataset="postgres:readings_hourly",
                    way="aggregate",
                    transformation=Transformation(name="hourly", version="1"),
                    run_id=run.id,
                    at=at,
                    received_at=at,
                )
                await write(house.connection, commit, run_node(run), feeds, {})
            await relay.catch_up(house.connection, house.graph)

        async def last(name: str, **when: datetime) -> object:
            rows = (await ask(house.graph, find(name), **when)).rows
            column = 2 if name == "datasets" else 1
            return {row[0]: row[column] for row in rows}.get("postgres:readings_hourly")

        def at(hour: int) -> int:
            return micros(datetime(2026, 11, 20, hour, tzinfo=UTC))

        await made(1)
        first = datetime.now(UTC)
        for name in ("freshness", "datasets"):
            assert await last(name) == at(12)
        await made(2)
        for name in ("freshness", "datasets"):
            assert await last(name) == at(13)
            assert await last(name, known_at=first) == at(12)
            assert await last(name, valid_at=datetime(2026, 11, 20, 12, 30, tzinfo=UTC)) == at(12)


async def test_what_a_flow_only_read_is_no_batch(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await house.way.take(a_batch(message("a", 1)))
        await relay.catch_up(house.connection, house.graph)
        before = {name: (await ask(house.graph, find(name))).rows for name in ("datasets", "freshness")}
        async with record(house.connection, Transformation(name="report", version="1")) as lineage:
            lineage.feeds(STORED, "file:report.pdf")
            lineage.feeds("file:report.pdf", "file:mail.eml")
        await relay.catch_up(house.connection, house.graph)
        for name, rows in before.items():
            after = (await ask(house.graph, find(name))).rows
            assert set(rows) <= set(after)
            assert {row[0] for row in after} - {row[0] for row in rows} == {
                "file:report.pdf",
                "file:mail.eml",
            }
        assert (await ask(house.graph, find("orphans"))).rows == ()
        unproven = await ask(house.graph, find("unproven"), {"proved": "2020-01-01"})
        assert {row[0]: row[1] for row in unproven.rows}[STORED] == 1
        up = await ask(house.graph, find("upstream"), {"key": "file:mail.eml#2"})
        assert {row[0] for row in up.rows} == {"file:report.pdf#2", f"{STORED}#2"}
        assert (await house.prove()).differences == ()
