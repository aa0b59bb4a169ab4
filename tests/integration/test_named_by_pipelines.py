"""Transformations bear their pipelines' names; what was recorded before keeps its own, and goes out of force
with the pipeline that it was of. Raw batches are their sources'; those of before stay what they were."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from infra.local.addresses import Address
from infra.postgres import Connection
from lineage import relay
from lineage.audit import ask, find
from lineage.columns import ColumnEdge, Kind, Subtype
from lineage.model import Edge, RelationshipType, Run, Transformation, batch_node, micros
from lineage.projection import digest
from tasks.again.erase import Erasure, erase
from tasks.batch import RawBatch
from tasks.load import edges
from tasks.load.plan import LoadPlan
from tasks.transform.columns import opaque
from tests.fixtures.catalogs import pipeline
from tests.fixtures.commit import CONTRACT, NOW, Way, a_batch, a_plan, message
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.proof import House, a_house, furnish

STORED = "postgres:sensor_readings"
MQTT, KAFKA = "mqtt:sensors/+/readings", "kafka:sensor-readings"
RAW = "postgres:raw_batches"


async def commit(house: House, name: str, dataset: str, transformation: str) -> None:
    """One batch of a source by a new run of a pipeline."""
    house.way.store.discard()
    by, _, version = transformation.partition("@")

    def columns(source: str) -> dict[str, tuple[ColumnEdge, ...]]:
        edge = ColumnEdge(source, "kelvin", "temperature", Kind.DIRECT, Subtype.IDENTITY, False)
        others = [name for name in CONTRACT.names if name != "temperature"]
        return {"sensor_readings": (edge, *opaque(source, others))}

    plan = a_plan()
    plan = replace(
        plan,
        pipeline=name,
        transformation=Transformation(name=by, version=version),
        run=replace(plan.run, id=uuid4()),
        columns=columns,
    )
    number = await house.connection.fetchval("SELECT count(*)::int FROM ledger")
    batch = replace(a_batch(message("a", number)), dataset=dataset)
    await Way(house.way.store, house.way.pool, plan).take(batch)


async def superseded(connection: Connection) -> list[tuple[str, str]]:
    rows = await connection.fetch(
        "SELECT source_key, target_key FROM lineage_log WHERE relationship_type = 'SUPERSEDES' "
        "ORDER BY batch, number"
    )
    return [tuple(row) for row in rows]


async def temperature_comes_from(house: House) -> set[str]:
    await relay.catch_up(house.connection, house.graph)
    answer = await ask(house.graph, find("column-upstream"), {"column": f"{STORED}.temperature"})
    return {row[0] for row in answer.rows}


async def assert_proven(house: House) -> None:
    await relay.catch_up(house.connection, house.graph)
    proof = await house.prove()
    assert proof.ok, proof.differences
    assert digest(await in_graph(house.graph)) == digest(await of_log(house.connection))


async def test_two_pipelines_into_one_table_are_in_force_side_by_side(
    postgres_dsn: str, graph: Address
) -> None:
    async with a_house(postgres_dsn, graph) as house:
        await commit(house, "sensors", MQTT, "sensors@1")
        await commit(house, "sensors-kafka", KAFKA, "sensors-kafka@1")
        both = {f"{MQTT}.kelvin", f"{KAFKA}.kelvin"}
        assert await temperature_comes_from(house) == both
        await commit(house, "sensors", MQTT, "sensors@2")
        assert await temperature_comes_from(house) == both
        assert await superseded(house.connection) == [("sensors@2", "sensors@1")]
        found = await ask(house.graph, find("upstream"), {"key": STORED})
        assert {row[0] for row in found.rows} == {MQTT, KAFKA}
        await assert_proven(house)


async def test_the_first_commit_under_the_new_name_supersedes_the_pipelines_own_former(
    postgres_dsn: str, graph_address: Address
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commit(house, "sensors", MQTT, "readings@1")
        await commit(house, "sensors-kafka", KAFKA, "readings@2")
        assert await temperature_comes_from(house) == {f"{KAFKA}.kelvin"}  # so it was
        await commit(house, "sensors", MQTT, "sensors@3")
        assert await temperature_comes_from(house) == {f"{MQTT}.kelvin", f"{KAFKA}.kelvin"}
        assert await superseded(house.connection) == [
            ("readings@2", "readings@1"),
            ("sensors@3", "readings@1"),
        ]
        await assert_proven(house)
        await commit(house, "sensors-kafka", KAFKA, "sensors-kafka@4")
        await commit(house, "sensors-files", "file:sensors/**/*", "sensors-files@5")  # one that is new
        assert await temperature_comes_from(house) == {
            f"{source}.kelvin" for source in (MQTT, KAFKA, "file:sensors/**/*")
        }
        assert (await superseded(house.connection))[2:] == [("sensors-kafka@4", "readings@2")]
        await commit(house, "sensors", MQTT, "sensors@6")
        assert (await superseded(house.connection))[3:] == [("sensors@6", "sensors@3")]
        await assert_proven(house)


async def test_what_two_pipelines_shared_goes_with_the_last_of_them(
    postgres_dsn: str, graph_address: Address
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commit(house, "sensors", MQTT, "readings@1")
        await commit(house, "sensors-kafka", KAFKA, "readings@1")
        await commit(house, "sensors", MQTT, "sensors@2")
        assert await superseded(house.connection) == []
        assert await temperature_comes_from(house) == {f"{MQTT}.kelvin", f"{KAFKA}.kelvin"}
        await commit(house, "sensors-kafka", KAFKA, "sensors-kafka@2")
        assert await superseded(house.connection) == [("sensors-kafka@2", "readings@1")]
        assert await temperature_comes_from(house) == {f"{MQTT}.kelvin", f"{KAFKA}.kelvin"}
        await assert_proven(house)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DELETE FROM store.reigns WHERE name = 'sensors'", "sensors@2 stands in the log and not there"),
        (
            "UPDATE store.reigns SET name = 'readings' WHERE name = 'sensors'",
            "no version of sensors is in force, and it ran",
        ),
    ],
)
async def test_a_first_reign_that_is_not_that_of_the_log_is_named(
    postgres_dsn: str, graph_address: Address, statement: str, sentence: str
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await commit(house, "sensors", MQTT, "readings@1")
        await commit(house, "sensors", MQTT, "sensors@2")
        await assert_proven(house)
        await house.tamper("reigns", statement)
        assert any(sentence in difference for difference in (await house.prove()).differences)


def as_before(
    number: int, batch: RawBatch, plan: LoadPlan, stored: edges.Stored, new: Iterable[Any], now: datetime
) -> list[Edge]:
    """What a commit recorded when all raw batches were of one dataset: source → raw → what was made."""
    received = batch_node(
        batch.dataset,
        number,
        received_at=micros(batch.received_at),
        received_until=micros(batch.received_until),
        position_id=plan.position_id(batch),
    )
    raw = batch_node(RAW, number, rows=batch.messages.height)
    made = [(RelationshipType.FEEDS, received, raw), *edges._outputs(raw, number, plan, stored, new)]
    return edges._edges(plan, made, now, valid_from=min(batch.received_at, now))


async def test_what_was_recorded_before_keeps_its_names_and_is_proved(
    postgres_dsn: str, graph: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_house(postgres_dsn, graph) as house:
        with monkeypatch.context() as patched:
            patched.setattr(edges, "of_commit", as_before)
            await furnish(house)
        old = await house.connection.fetchval("SELECT max(batch) FROM ledger")
        assert await house.connection.fetchval(
            f"SELECT count(*) FROM lineage_log WHERE target_key ~ '^{RAW}#'"
        )
        await assert_proven(house)
        run = Run(id=uuid4(), kind="command", name="erase", started_at=NOW)
        erasure = Erasure(batch=2, sequences=[0], reason="why", by_whom="me", run=run)
        assert await erase(house.connection, erasure)
        late = await house.way.take(a_batch(message("late", 1)))
        await assert_proven(house)
        first = digest(await in_graph(house.graph))
        await relay.rebuild(house.connection, house.graph)
        assert digest(await in_graph(house.graph)) == first

        async def upstream(key: str) -> set[str]:
            return {row[0] for row in (await ask(house.graph, find("upstream"), {"key": key})).rows}

        assert await upstream(f"{STORED}#2") == {f"{RAW}#2", f"{MQTT}#2"}
        assert await upstream(f"{STORED}#{late.batch}") == {f"{MQTT}#{late.batch}"}
        assert not await house.connection.fetchval(
            f"SELECT count(*) FROM lineage_log WHERE batch > $1 AND source_key ~ '^{RAW}#'", old
        )
        await house.tamper(
            "lineage_log",
            f"UPDATE store.lineage_log SET target_facts = '{{}}' WHERE target_key = '{RAW}#2'",
        )
        said = f"lineage_log, batch 2: the edge to {RAW}#2 says None row(s), and 2 are recorded"
        assert said in (await house.prove()).differences


async def test_of_a_received_batch_its_entry_says_how_many_messages_it_is(
    postgres_dsn: str, graph_address: Address
) -> None:
    async with a_house(postgres_dsn, graph_address) as house:
        await furnish(house)
        await assert_proven(house)
        change = "source_facts = replace(source_facts::text, '\"rows\":2', '\"rows\":7')::json"
        await house.tamper(
            "lineage_log",
            f"UPDATE store.lineage_log SET {change} WHERE batch = 2 AND source_key = '{MQTT}#2'",
        )
        said = f"lineage_log, batch 2: the edge from {MQTT}#2 says 7 row(s), and 2 are recorded"
        assert said in (await house.prove()).differences
        again = await house.connection.fetchval(
            "SELECT batch FROM ledger WHERE duplicates > 0 AND accepted = 0 AND rejected = 0 LIMIT 1"
        )
        await house.tamper(
            "lineage_log", f"DELETE FROM store.lineage_log WHERE source_key = '{MQTT}#{again}'"
        )
        missing = f"lineage_log, batch {again}: no entry says how many messages {MQTT}#{again} is"
        assert missing in (await house.prove()).differences


async def test_no_file_is_read_inside_a_commit(
    postgres_dsn: str, graph_address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog was read; the first commit of a version tells all that is said of its columns."""
    ours = pipeline("sensors")
    plan = ours.load_plan(Run(id=uuid4(), kind="listener", name="test", started_at=datetime.now(UTC)))

    def refused(path: Path, *_: object, **__: object) -> str:
        raise AssertionError(f"{path} is read")

    async with a_house(postgres_dsn, graph_address) as house:
        monkeypatch.setattr(Path, "read_text", refused)
        monkeypatch.setattr(Path, "open", refused)
        await Way(house.way.store, house.way.pool, plan).take(a_batch(message("a", 1)))
        assert await house.connection.fetchval(
            "SELECT count(*) FROM lineage_log WHERE relationship_type = 'DERIVES'"
        )
