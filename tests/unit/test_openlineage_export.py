"""The export: golden events, valid by the official client, and nothing of ours lost on the way back."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from infra.openlineage import _facets, checked, written
from lineage.commits import RecordedCommit
from lineage.errors import RejectedError
from lineage.log import FIRST_HEAD, Entry, canonical
from lineage.model import (
    Edge,
    Node,
    NodeKind,
    RelationshipType,
    Run,
    Transformation,
    batch_node,
    column_node,
    dataset_node,
    run_node,
    subject_node,
    transformation_node,
)
from lineage.openlineage import facets
from lineage.openlineage.events import read
from lineage.openlineage.export import Field, Known, export
from lineage.openlineage.importer import Story, kept_facets
from lineage.openlineage.names import Names
from lineage.projection import digest, project

AT = datetime(2026, 11, 21, 8, 0, 0, 250_000, tzinfo=UTC)
NAMES = Names({"postgres": "postgres://db:5432/lab", "mqtt": "mqtt://broker:1883"})
SENSORS = Transformation(name="sensors", version="a1")
RUN = Run(id=UUID(int=7), kind="listener", name="sensors listener", started_at=AT - timedelta(hours=1))
MQTT, RAW, READINGS = "mqtt:sensors/+/readings", "postgres:raw_batches", "postgres:sensor_readings"
KNOWN = Known(
    schemas={READINGS: [Field("device_id", "text"), Field("temperature", "float", "air, °C")]},
    runs={RUN.id: RUN.name},
)


def edge(kind: RelationshipType, source: Node, target: Node, **facts: Any) -> Edge:
    return Edge(
        relationship_type=kind,
        source=source,
        target=target,
        created_at=AT,
        transformation_id=SENSORS.id,
        run_id=RUN.id,
        facts=facts,
    )


def commit(number: int, *edges: Edge) -> RecordedCommit:
    return RecordedCommit(
        batch=number,
        dataset=MQTT,
        way="fast",
        received_until=AT - timedelta(seconds=1),
        processed_at=AT,
        transformation_id=SENSORS.id,
        entries=[Entry(3, place, number, each, FIRST_HEAD) for place, each in enumerate(edges, start=1)],
    )


def fed(number: int) -> list[Edge]:
    raw = batch_node(RAW, number, rows=4)
    return [
        edge(RelationshipType.FEEDS, batch_node(MQTT, number, position_id=None), raw),
        edge(RelationshipType.FEEDS, raw, batch_node(READINGS, number, rows=3)),
        edge(RelationshipType.FEEDS, raw, batch_node("postgres:rejected", number, rows=1)),
    ]


COMMITS = [
    commit(
        1,
        edge(RelationshipType.RAN, run_node(RUN), transformation_node(SENSORS)),
        *fed(1),
        edge(RelationshipType.ABOUT, subject_node("device", "d1"), dataset_node(READINGS)),
        edge(
            RelationshipType.DERIVES,
            column_node(RAW, "payload"),
            column_node(READINGS, "temperature"),
            direct="TRANSFORMATION",
            indirect="FILTER,JOIN",
        ),
        edge(RelationshipType.DERIVES, transformation_node(SENSORS), column_node(READINGS, "unit")),
        edge(RelationshipType.DERIVES, dataset_node(RAW), column_node(READINGS, "count"), opaque=True),
    ),
    commit(2, *fed(2)),
]
EVENTS = list(export(COMMITS, NAMES, KNOWN))


def test_a_commit_is_a_run_for_each_set_of_inputs() -> None:
    told = [
        (
            event["eventType"],
            event["job"]["name"],
            [each["name"] for each in event.get("inputs", ())],
            [each["name"] for each in event.get("outputs", ())],
        )
        for event in EVENTS[:4]
    ]
    assert told == [
        ("START", "sensors.sensors/+/readings", [], []),
        ("COMPLETE", "sensors.sensors/+/readings", ["sensors/+/readings"], ["lab.public.raw_batches"]),
        ("START", "sensors.raw_batches", [], []),
        (
            "COMPLETE",
            "sensors.raw_batches",
            ["lab.public.raw_batches"],
            ["lab.public.rejected", "lab.public.sensor_readings"],
        ),
    ]


def test_an_output_tells_its_schema_columns_version_and_rows() -> None:
    output = EVENTS[3]["outputs"][1]
    made = {name: _bare(content) for name, content in output["facets"].items()}
    assert output["namespace"] == "postgres://db:5432"
    assert made == {
        "schema": {
            "fields": [
                {"name": "device_id", "type": "text"},
                {"name": "temperature", "type": "float", "description": "air, °C"},
            ]
        },
        "columnLineage": {
            "fields": {
                "temperature": {
                    "inputFields": [
                        {
                            "namespace": "postgres://db:5432",
                            "name": "lab.public.raw_batches",
                            "field": "payload",
                            "transformations": [
                                {"type": "DIRECT", "subtype": "TRANSFORMATION"},
                                {"type": "INDIRECT", "subtype": "FILTER"},
                                {"type": "INDIRECT", "subtype": "JOIN"},
                            ],
                        }
                    ]
                },
                "unit": {"inputFields": []},
                "count": {"inputFields": []},
            }
        },
        "version": {"datasetVersion": "1"},
    }
    assert _bare(output["outputFacets"]["outputStatistics"]) == {"rowCount": 3}


def _bare(facet: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facet.items() if not name.startswith("_")}


def test_a_run_names_the_run_it_happened_in_and_its_times() -> None:
    started, completed = EVENTS[:2]
    assert started["run"]["runId"] == completed["run"]["runId"]
    assert (started["eventTime"], completed["eventTime"]) == (
        "2026-11-21T07:59:59.250000Z",
        "2026-11-21T08:00:00.250000Z",
    )
    assert _bare(completed["run"]["facets"]["parent"]) == {
        "run": {"runId": str(RUN.id)},
        "job": {"namespace": "headwater", "name": "sensors listener"},
    }


def test_all_that_is_exported_is_known_when_it_is_imported() -> None:
    events = [read(json.dumps(event).encode()) for event in EVENTS]
    assert {name for event in events for _, name, _ in event.facets()} >= {"version", "jobType", "parent"}
    assert [facet for event in events for facet in kept_facets(event)] == []


def test_a_schema_is_told_once_and_a_second_export_is_the_same() -> None:
    assert sum('"schema"' in json.dumps(event) for event in EVENTS) == 1
    assert list(export(COMMITS, NAMES, KNOWN)) == EVENTS
    ids = {event["run"]["runId"] for event in EVENTS}
    assert len(ids) == 4


def test_every_event_is_valid_and_the_client_sends_it_as_it_is() -> None:
    for event in EVENTS:
        sent = written(checked(event))
        for side in ("inputs", "outputs"):
            assert [each["name"] for each in sent[side]] == [each["name"] for each in event.get(side, ())]
        assert sent["run"]["runId"] == event["run"]["runId"]
        assert sent["schemaURL"] == event["schemaURL"]


def test_our_facets_are_of_the_schemas_the_client_has() -> None:
    client = {known._get_schema() for known in _facets().values()}
    own = facets.SCHEMAS[facets.ENTRIES]
    assert {url for url in facets.SCHEMAS.values() if url not in client} == {own}


@pytest.mark.parametrize(
    "wrong",
    [
        {"eventTime": "yesterday"},
        {"eventType": "DONE"},
        {"run": {"runId": "7"}},
        {"job": {"name": "a"}},
        {"outputs": [{"namespace": "a", "name": 7}]},
        {"outputs": [{"namespace": "a", "name": "b", "facets": {"schema": {"columns": []}}}]},
        {"colour": "red"},
    ],
)
def test_the_client_refuses_what_is_not_of_the_schema(wrong: dict[str, Any]) -> None:
    with pytest.raises(RejectedError, match="not of OpenLineage's schema"):
        checked({**EVENTS[1], **wrong})


def back(events: list[Any]) -> list[Edge]:
    """The edges the events give, as bytes through the reader."""
    return [each for event in events for each in Story(NAMES).add(read(json.dumps(event).encode()))]


def test_the_way_there_and_back_loses_nothing() -> None:
    before = [entry.edge for each in COMMITS for entry in each.entries]
    after = back(EVENTS)
    assert sorted(canonical(1, 1, 1, each) for each in after) == sorted(
        canonical(1, 1, 1, each) for each in before
    )
    entries = [Entry(1, place, 1, each, FIRST_HEAD) for place, each in enumerate(after, start=1)]
    assert project(entries, 0) == project((entry for each in COMMITS for entry in each.entries), 0)


def test_nor_does_the_way_through_the_client_which_leaves_nulls_out() -> None:
    sent = [written(checked(event)) for event in EVENTS]
    entries = [Entry(1, place, 1, each, FIRST_HEAD) for place, each in enumerate(back(sent), start=1)]
    assert digest(project(entries, 0)) == digest(project((e for each in COMMITS for e in each.entries), 0))


def test_who_does_not_know_our_facet_still_reads_datasets_and_columns() -> None:
    plain = json.loads(json.dumps(EVENTS))
    for event in plain:
        event["run"]["facets"].pop(facets.ENTRIES, None)
    pairs = {
        (each.relationship_type, each.source.key, each.target.key)
        for each in back(plain)
        if each.relationship_type in (RelationshipType.FEEDS, RelationshipType.DERIVES)
    }
    assert pairs == {
        (RelationshipType.FEEDS, MQTT, RAW),
        (RelationshipType.FEEDS, RAW, READINGS),
        (RelationshipType.FEEDS, RAW, "postgres:rejected"),
        (RelationshipType.DERIVES, f"{RAW}.payload", f"{READINGS}.temperature"),
    }
    derived = next(each for each in back(plain) if each.relationship_type is RelationshipType.DERIVES)
    assert derived.facts == {"direct": "TRANSFORMATION", "indirect": "FILTER,JOIN"}


def test_another_house_keeps_our_datasets_apart_from_its_own() -> None:
    elsewhere = Names({"postgres": "postgres://other:5432/lab", "headwater": "other"})
    keys = {
        node.key
        for event in EVENTS
        for each in Story(elsewhere).add(read(json.dumps(event).encode()))
        for node in (each.source, each.target)
        if node.kind is NodeKind.BATCH
    }
    assert f"openlineage:postgres://db:5432/lab.public.sensor_readings#1" in keys  # noqa: F541
    assert not any(key.startswith("postgres:") for key in keys)


def test_a_commit_without_data_is_told_too() -> None:
    quiet = commit(3, edge(RelationshipType.RAN, run_node(RUN), transformation_node(SENSORS)))
    (_, told) = export([quiet], NAMES, KNOWN)
    assert (told["inputs"], told["outputs"]) == ([], [])
    checked(told)
    assert back([told]) == [quiet.entries[0].edge]
    nothing = replace(quiet, entries=[])
    assert list(export([nothing], NAMES, KNOWN)) == []
