"""The graph as a whole: noticed when it is another one, and compared between two states."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from console.asked.whole_graph import difference
from infra.local.addresses import Address
from infra.settings import Settings, load
from lineage import diff, naming, relay
from lineage import graph as graphs
from lineage.columns import ColumnEdge, Kind, Subtype
from lineage.diff import Pair
from lineage.model import Transformation
from lineage.projection import digest
from lineage.transformations import derivations
from tests.fixtures.catalogs import SHIPPED, pipeline
from tests.fixtures.commit import Way, a_batch, a_plan, message
from tests.fixtures.lineage import in_graph, of_log
from tests.fixtures.proof import House, a_house

SOURCE = "mqtt:sensors/+/readings"
STORED = naming.postgres("sensor_readings")


async def test_a_relay_sees_that_its_graph_is_another_one(postgres_dsn: str, graph: Address) -> None:
    async with a_house(postgres_dsn, graph) as house:
        for second in range(3):
            await house.way.take(a_batch(message("a", second)))
            await relay.catch_up(house.connection, house.graph)
        assert await relay.resume(house.connection, house.graph)
        await graphs.clear(house.graph)  # as an empty server in its place
        assert not await relay.resume(house.connection, house.graph)
        await relay.catch_up(house.connection, house.graph)
        assert await relay.resume(house.connection, house.graph)
        assert digest(await in_graph(house.graph)) == digest(await of_log(house.connection))


def columns(temperature_of: str, how: Subtype) -> dict[str, tuple[ColumnEdge, ...]]:
    return {
        "sensor_readings": (
            ColumnEdge(SOURCE, temperature_of, "temperature", Kind.DIRECT, how, False),
            ColumnEdge(SOURCE, "humidity", "humidity", Kind.DIRECT, how, False),
            ColumnEdge("", None, "source_name", Kind.DIRECT, Subtype.IDENTITY, False),
        )
    }


async def commit(house: House, version: str, second: int, made: dict[str, tuple[ColumnEdge, ...]]) -> None:
    house.way.store.discard()
    plan = replace(
        a_plan(),
        transformation=Transformation(name="sensors", version=version),
        columns=lambda _source: made,
    )
    await Way(house.way.store, house.way.pool, plan).take(a_batch(message("a", second)))
    await relay.catch_up(house.connection, house.graph)


@pytest.fixture
def hourly() -> list[str]:
    return ["postgres:hourly.temperature_mean", "postgres:report.heat"]


async def test_what_changes_between_two_states(postgres_dsn: str, graph: Address, hourly: list[str]) -> None:
    celsius, kelvin = columns("celsius", Subtype.IDENTITY), columns("kelvin", Subtype.TRANSFORMATION)
    moved, taken = (
        Pair(f"{SOURCE}.celsius", f"{STORED}.temperature"),
        Pair(f"{SOURCE}.kelvin", f"{STORED}.temperature"),
    )
    async with a_house(postgres_dsn, graph) as house:
        await commit(house, "1", 1, celsius)
        first = datetime.now(UTC)
        assert (
            diff.compare(
                await diff.columns_at(house.graph, first), await diff.columns_at(house.graph)
            ).targets
            == ()
        )
        await commit(house, "2", 2, kelvin)
        changes = diff.compare(await diff.columns_at(house.graph, first), await diff.columns_at(house.graph))
        assert (changes.added, changes.removed) == ((taken,), (moved,))
        assert changes.changed == (Pair(f"{SOURCE}.humidity", f"{STORED}.humidity"),)
        versions = [await diff.columns_of(house.graph, f"sensors@{number}") for number in (1, 2)]
        assert diff.compare(*versions) == changes
        await house.in_graph(
            f"MATCH (t:Column {{key: '{STORED}.temperature'}}) "
            f"CREATE (a:Column {{key: '{hourly[0]}'}}), (b:Column {{key: '{hourly[1]}'}}), "
            "(t)-[:DERIVES {via: 'x@1', transformation_id: 'x@1', valid_from: 1, known_at: 1}]->(a), "
            "(a)-[:DERIVES {via: 'x@1', transformation_id: 'x@1', valid_from: 1, known_at: 1}]->(b), "
            "(:Transformation {key: 'x@1', name: 'x'})"
        )
        assert await diff.reached(house.graph, changes.targets) == tuple(sorted(hourly))


@pytest.fixture
def settings(graph_address: Address, postgres_dsn: str, tmp_path: Path) -> Settings:
    return load(
        home=tmp_path,
        postgres_dsn=postgres_dsn,
        graph_uri=graph_address.url,
        graph_user=graph_address.user,
        graph_password=graph_address.password,
        graph_database=graph_address.database,
        robots="ot2=http://127.0.0.1:9",
    )


async def test_what_another_pipeline_or_robot_records_is_no_change(
    postgres_dsn: str, graph_address: Address, settings: Settings
) -> None:
    """One version reads from MQTT and from Kafka, and a robot ran that is not in these settings."""
    readings, experiments = pipeline("sensors"), pipeline("experiments")
    async with a_house(postgres_dsn, graph_address) as house:
        for ours, dataset in (
            (readings, "mqtt:sensors/+/readings"),
            (readings, "kafka:sensor-readings"),
            (experiments, "opentrons:flex.lab/runs"),
        ):
            house.way.store.discard()
            made_by = replace(a_plan(), transformation=ours.transformation(), columns=ours.columns)
            way = Way(house.way.store, house.way.pool, made_by)
            await way.take(replace(a_batch(message("a", len(dataset))), dataset=dataset))
        await relay.catch_up(house.connection, house.graph)
        now = datetime.now(UTC).isoformat()
        for ours in (readings, experiments):
            for state in (ours.transformation().id, now):
                for pair in ((state, ours.name), (ours.name, state)):
                    changes = (await difference(settings, SHIPPED, *pair)).changes
                    assert changes == diff.Changes(added=(), removed=(), changed=()), pair


async def test_a_table_that_is_made_no_more_is_a_change(
    postgres_dsn: str, graph_address: Address, settings: Settings
) -> None:
    """Between two versions, and between a time and the version after it."""
    both = columns("celsius", Subtype.IDENTITY)
    report = ColumnEdge(SOURCE, "celsius", "heat", Kind.DIRECT, Subtype.AGGREGATION, False)
    dropped = Pair(f"{SOURCE}.celsius", "postgres:report.heat")
    async with a_house(postgres_dsn, graph_address) as house:
        await commit(house, "1", 1, both | {"report": (report,)})
        then = datetime.now(UTC).isoformat()
        await commit(house, "2", 2, both)
        for before in ("sensors@1", then):
            assert (await difference(settings, SHIPPED, before, "sensors@2")).changes.removed == (dropped,)
        assert (await difference(settings, SHIPPED, "sensors@2", "sensors@1")).changes.added == (dropped,)


@pytest.mark.parametrize("name", ["sensors", "sensors-kafka", "sensors-files"])
async def test_a_pipeline_by_its_name_is_compared_in_its_own_source(
    postgres_dsn: str, graph_address: Address, name: str, settings: Settings
) -> None:
    sources = {
        "sensors": "mqtt:sensors/+/readings",
        "sensors-kafka": "kafka:sensor-readings",
        "sensors-files": "file:sensors/**/*",
    }
    ours = pipeline(name)
    async with a_house(postgres_dsn, graph_address) as house:
        plan = replace(a_plan(), transformation=ours.transformation(), columns=ours.columns)
        way = Way(house.way.store, house.way.pool, plan)
        await way.take(replace(a_batch(message("a", 1)), dataset=sources[name]))
        await relay.catch_up(house.connection, house.graph)
        recorded = await diff.columns_of(house.graph, ours.transformation().id)
        assert any(pair.source.startswith(sources[name]) for pair in recorded)
        same = await difference(settings, SHIPPED, ours.transformation().id, name)
        assert same.changes == diff.Changes(added=(), removed=(), changed=())
        other = next(each for each in sources if each != name)
        changes = (await difference(settings, SHIPPED, ours.transformation().id, other)).changes
        assert not changes.removed  # it is another pipeline's, and stands there still
        assert {pair.source.partition(":")[0] for pair in changes.added} == {sources[other].partition(":")[0]}


async def test_code_that_is_not_recorded_yet_is_compared_with_what_is(
    postgres_dsn: str, graph_address: Address
) -> None:
    made = columns("celsius", Subtype.IDENTITY)
    async with a_house(postgres_dsn, graph_address) as house:
        await commit(house, "1", 1, made)
        recorded = await diff.columns_of(house.graph, "sensors@1")
        for version, made_now, expected in (("2", made, 0), ("3", columns("kelvin", Subtype.IDENTITY), 2)):
            code = diff.columns_from(
                derivations(
                    Transformation(name="sensors", version=version),
                    STORED,
                    made_now["sensor_readings"],
                    run_id=None,
                    now=datetime.now(UTC),
                )
            )
            changes = diff.compare(recorded, code)
            assert len(changes.added) + len(changes.removed) + len(changes.changed) == expected
