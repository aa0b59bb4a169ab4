"""Every column that a pipeline or an aggregate writes says what it comes from."""

import pytest

from flows.catalog import Pipeline
from lineage import naming
from lineage.columns import ColumnEdge, Kind, Subtype
from tasks.derived.aggregate import Aggregate
from tests.fixtures.catalogs import SHIPPED

SOURCE = "source:any"


@pytest.mark.parametrize("pipeline", SHIPPED.pipelines.values(), ids=lambda pipeline: pipeline.name)
def test_no_column_of_a_pipeline_is_without_an_edge(pipeline: Pipeline) -> None:
    contracts = pipeline.contracts
    columns = pipeline.columns(SOURCE)
    assert columns.keys() == contracts.keys()
    for table, edges in columns.items():
        assert {edge.target_column for edge in edges} == set(contracts[table].names)
        direct = {edge.target_column for edge in edges if edge.kind is Kind.DIRECT}
        assert direct >= set(contracts[table].names) - {"source_name"}


@pytest.mark.parametrize("aggregate", SHIPPED.derived.values(), ids=lambda aggregate: aggregate.table)
def test_no_column_of_an_aggregate_is_without_an_edge(aggregate: Aggregate) -> None:
    edges = aggregate.columns()
    direct = {edge.target_column for edge in edges if edge.kind is Kind.DIRECT}
    assert direct == set(aggregate.contract.names)
    assert {edge.source_dataset for edge in edges} == {naming.postgres(name) for name in aggregate.sources}


def test_what_a_reading_is_made_of() -> None:
    edges = SHIPPED.pipelines["sensors"].columns("mqtt:sensors/+/readings")["sensor_readings"]
    assert direct(edges, "dew_point") == {
        ("mqtt:sensors/+/readings", "temperature"),
        ("mqtt:sensors/+/readings", "humidity"),
    }
    assert direct(edges, "latitude") == {("mqtt:sensors/+/readings", "location.latitude")}
    assert direct(edges, "place") == {("library:reverse_geocode", "city")}
    assert direct(edges, "device_site") == {("postgres:devices", "site")}
    deciding = {
        (e.source_column, e.subtype) for e in edges if e.target_column == "place" and e.kind is Kind.INDIRECT
    }
    assert ("location.longitude", Subtype.JOIN) in deciding
    assert ("temperature", Subtype.FILTER) in deciding  # a reading out of range is rejected as a whole


def test_what_an_hour_and_a_summary_are_made_of() -> None:
    names = ("sensor_readings_hourly", "experiment_summary")
    hourly, summary = (SHIPPED.derived[name].columns() for name in names)
    assert direct(hourly, "temperature_mean") == {("postgres:sensor_readings", "temperature")}
    assert direct(hourly, "readings") == {("postgres:sensor_readings", None)}
    assert direct(summary, "robot") == {("postgres:experiments", "robot")}
    assert direct(summary, "steps") == {("postgres:experiment_steps", None)}
    assert ("postgres:experiment_steps", "volume_ul") in direct(summary, "aspirated_ul")


def test_what_python_makes_is_opaque_and_nothing_else() -> None:
    columns = SHIPPED.pipelines["experiments"].columns("opentrons:ot2/runs")
    every = [edge for edges in columns.values() for edge in edges if edge.kind is Kind.DIRECT]
    hidden = {edge.target_column for edge in every if edge.opaque}
    assert hidden >= {"robot", "commands", "error_count", "step_index", "pipette_id", "labware_slot"}
    assert not hidden & {"status", "volume_ul", "duration_s", "pipette_name", "started_at"}
    assert direct(columns["experiment_steps"], "duration_s") == {
        ("opentrons:ot2/runs", "commands.startedAt"),
        ("opentrons:ot2/runs", "commands.completedAt"),
    }


def direct(edges: tuple[ColumnEdge, ...], column: str) -> set[tuple[str, str | None]]:
    return {
        (edge.source_dataset, edge.source_column)
        for edge in edges
        if edge.target_column == column and edge.kind is Kind.DIRECT
    }
