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
from lineage.log import FIRST_HEAD, Entry
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
    assert [facet for event in events for facet in kept_facets(event, NAMES)] == []


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


THERE = "headwater:headwater/"


def test_the_way_there_and_back_loses_nothing_and_names_nothing_of_ours() -> None:
    before = [entry.edge for each in COMMITS for entry in each.entries]
    after = back(EVENTS)
    ours = sorted(before, key=lambda each: (each.source.key, each.target.key))
    theirs = sorted(after, key=lambda each: (str(each.facts.get("source_name")), each.target.key))
    assert len(ours) == len(theirs)
    ends = [node for each in after for node in (each.source, each.target) if node.kind is not NodeKind.RUN]
    assert all(node.key.startswith(THERE) for node in ends)
    assert {each.transformation_id for each in after} == {f"{THERE}{SENSORS.id}"}
    assert {each.run_id for each in after}.isdisjoint({RUN.id})
    (ran,) = (each for each in after if each.relationship_type is RelationshipType.RAN)
    assert ran.source.facts == {"kind": "headwater", "id": f"{THERE}{RUN.id}"}
    assert (ran.facts["source_name"], ran.facts["source_kind"]) == (RUN.name, "listener")
    told = {each.target.key: each for each in after if each.relationship_type is RelationshipType.FEEDS}
    assert told[f"{THERE}{READINGS}#1"].target.facts == {"dataset": f"{THERE}{READINGS}"}
    assert told[f"{THERE}{READINGS}#1"].facts["target_rows"] == 3
    assert {(e.relationship_type, e.created_at) for e in after} == {
        (e.relationship_type, e.created_at) for e in before
    }


def test_nor_does_the_way_through_the_client_which_leaves_nulls_out() -> None:
    sent = [written(checked(event)) for event in EVENTS]
    whole, without = (
        [Entry(1, place, 1, each, FIRST_HEAD) for place, each in enumerate(back(events), start=1)]
        for events in (EVENTS, sent)
    )
    assert digest(project(without, 0)) == digest(project(whole, 0))


def test_what_takes_away_is_not_taken_and_is_listed() -> None:
    older = Transformation(name="sensors", version="a0")
    replaced = edge(RelationshipType.SUPERSEDES, transformation_node(SENSORS), transformation_node(older))
    day = replace(batch_node(READINGS, 1), key=f"{READINGS}#day:2026-01-01")
    folded = edge(RelationshipType.FOLDS, replace(day, facts={"dataset": READINGS}), dataset_node(READINGS))
    (_, told) = export([commit(1, replaced, folded)], NAMES, KNOWN)
    assert back([told]) == []
    kept = kept_facets(read(json.dumps(told).encode()), NAMES)
    assert [each.name for each in kept] == ["headwater_lineage.SUPERSEDES", "headwater_lineage.FOLDS"]


def test_what_a_house_told_itself_is_not_taken_and_is_listed() -> None:
    names = replace(NAMES, store="1/lab")
    event = read(json.dumps(list(export(COMMITS, names, KNOWN))[1]).encode())
    assert Story(names).add(event) == []
    assert [each.name for each in kept_facets(event, names)] == ["headwater_lineage"]
    other = Story(replace(NAMES, store="2/lab")).add(event)
    assert {each.target.key.partition("/")[0] for each in other} == {"headwater:1%2Flab"}


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
    said = {"direct": "TRANSFORMATION", "indirect": "FILTER,JOIN", "told_by": "openlineage:"}
    assert derived.facts == said


def test_a_commit_without_data_is_told_too() -> None:
    quiet = commit(3, edge(RelationshipType.RAN, run_node(RUN), transformation_node(SENSORS)))
    (_, told) = export([quiet], NAMES, KNOWN)
    assert (told["inputs"], told["outputs"]) == ([], [])
    checked(told)
    assert [each.relationship_type for each in back([told])] == [RelationshipType.RAN]
    nothing = replace(quiet, entries=[])
    assert list(export([nothing], NAMES, KNOWN)) == []
