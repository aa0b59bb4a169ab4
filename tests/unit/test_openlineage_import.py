"""The import, purely: events shaped as dbt, Spark and Airflow send them, and events that are wrong."""

import json
from typing import Any
from uuid import UUID

import pytest

from infra.openlineage import checked
from lineage.errors import RejectedError
from lineage.model import Edge, NodeKind, RelationshipType
from lineage.openlineage.events import read
from lineage.openlineage.facets import PRODUCER
from lineage.openlineage.importer import UNVERSIONED, Story, kept_facets
from lineage.openlineage.names import Names
from tests.fixtures.openlineage import airflow, dbt, encoded, spark

NAMES = Names({"postgres": "postgres://lab-db:5432/headwater"})
READINGS = "postgres:sensor_readings"
DAILY = "openlineage:postgres://lab-db:5432/headwater.analytics.readings_daily"
S3 = "openlineage:s3://lab-lake"


def edges(*events: dict[str, Any], names: Names = NAMES) -> list[Edge]:
    """What the events of one run make, one after another."""
    story = Story(names)
    return [edge for event in events for edge in story.add(read(encoded(event)))]


def without_teller(edge: Edge) -> dict[str, Any]:
    facts = dict(edge.facts)
    assert facts.pop("told_by") == "openlineage:"
    return facts


def pairs(found: list[Edge], kind: RelationshipType) -> set[tuple[str, str]]:
    return {(e.source.key, e.target.key) for e in found if e.relationship_type is kind}


@pytest.mark.parametrize("event", [*dbt(), *spark(), *airflow()], ids=lambda e: e["job"]["name"])
def test_the_examples_are_valid_by_the_client(event: dict[str, Any]) -> None:
    checked(event)


def test_a_dbt_model_over_our_table_joins_our_dataset() -> None:
    found = edges(*dbt())
    assert pairs(found, RelationshipType.FEEDS) == {(READINGS, DAILY)}
    assert pairs(found, RelationshipType.DERIVES) == {
        (f"{READINGS}.temperature", f"{DAILY}.mean_temperature"),
        (f"{READINGS}.device_id", f"{DAILY}.device_id"),
        (f"{READINGS}.device_id", f"{DAILY}.mean_temperature"),
    }
    said = {(e.source.key, e.target.key): without_teller(e) for e in found}
    assert said[f"{READINGS}.temperature", f"{DAILY}.mean_temperature"] == {"direct": "AGGREGATION"}
    assert said[f"{READINGS}.device_id", f"{DAILY}.device_id"] == {
        "direct": "IDENTITY",
        "indirect": "GROUP_BY",
    }


def test_the_run_and_its_code_are_in_the_graph() -> None:
    found = edges(*dbt())
    ran = next(e for e in found if e.relationship_type is RelationshipType.RAN)
    assert ran.source.kind is NodeKind.RUN
    assert ran.source.facts["name"] == "dbt/headwater.analytics.lab.readings_daily"
    assert ran.target.facts["name"] == "openlineage:dbt/headwater.analytics.lab.readings_daily"
    assert len(str(ran.target.facts["version"])) == 16  # of its SQL
    assert {e.run_id for e in found} == {UUID(ran.source.key)}
    version = edges(*spark())[0].transformation_id
    assert version is not None
    assert version.endswith(f"@{UNVERSIONED}")


def test_a_schema_names_columns() -> None:
    columns = pairs(edges(*dbt()), RelationshipType.PART_OF)
    assert (f"{DAILY}.mean_temperature", DAILY) in columns
    assert (f"{READINGS}.device_id", READINGS) in columns


def test_spark_tells_the_inputs_first_and_the_outputs_later() -> None:
    start, complete = spark()
    assert edges(start) == []
    assert pairs(edges(start, complete), RelationshipType.FEEDS) == {
        (READINGS, f"{S3}/warehouse/features"),
        (f"{S3}/raw/plates", f"{S3}/warehouse/features"),
    }
    assert pairs(edges(complete, start), RelationshipType.FEEDS) == pairs(
        edges(start, complete), RelationshipType.FEEDS
    )


def test_an_older_column_facet_and_one_for_the_whole_dataset() -> None:
    derived = {
        (e.source.key, e.target.key): without_teller(e)
        for e in edges(*spark())
        if e.relationship_type is RelationshipType.DERIVES
    }
    plates, features = f"{S3}/raw/plates", f"{S3}/warehouse/features"
    assert derived == {
        (f"{plates}.well", f"{features}.well"): {"direct": "IDENTITY", "indirect": "JOIN"},
        (f"{plates}.well", f"{features}.signal"): {"indirect": "JOIN"},
        (f"{READINGS}.humidity", f"{features}.signal"): {"direct": "TRANSFORMATION"},
    }


def test_a_task_that_failed_fed_nothing() -> None:
    assert edges({**airflow()[0], "eventType": "FAIL"}) == []


def test_nothing_is_said_twice() -> None:
    (event,) = airflow()
    assert edges(event)
    assert edges(event, event) == edges(event)


def test_a_dataset_that_is_its_own_input_makes_no_circle() -> None:
    event = dbt()[-1]
    event["inputs"] += [{"namespace": each["namespace"], "name": each["name"]} for each in event["outputs"]]
    assert pairs(edges(event), RelationshipType.FEEDS) == {(READINGS, DAILY)}


def test_events_without_a_run() -> None:
    told = {"eventTime": "2026-11-21T06:00:00Z", "producer": "urn:p", "schemaURL": "urn:s"}
    dataset = {
        "namespace": "s3://lab-lake",
        "name": "raw/plates",
        "facets": {"schema": {"fields": [{"name": "well"}]}},
    }
    (column,) = edges({**told, "dataset": dataset})
    assert column.relationship_type is RelationshipType.PART_OF
    made = edges({**told, "job": {"namespace": "n", "name": "j"}, "inputs": [dataset], "outputs": [dataset]})
    assert [e.run_id for e in made] == [None]


def test_facets_of_our_own_export_are_not_listed_and_those_of_others_by_the_same_names_are() -> None:
    version = {"_producer": PRODUCER, "datasetVersion": "1"}
    output = {"namespace": "n", "name": "d", "facets": {"version": version}}
    told = {"eventTime": "2026-11-21T06:00:00Z", "producer": PRODUCER, "job": {"namespace": "n", "name": "j"}}
    assert kept_facets(read(encoded({**told, "outputs": [output]})), NAMES) == []
    version["_producer"] = "urn:another"
    (kept,) = kept_facets(read(encoded({**told, "outputs": [output]})), NAMES)
    assert (kept.where, kept.name) == ("output d", "version")
    version["_producer"] = PRODUCER
    output["facets"] = {"surprise": version}
    assert [each.name for each in kept_facets(read(encoded({**told, "outputs": [output]})), NAMES)] == [
        "surprise"
    ]


def test_facets_the_graph_does_not_show_are_listed() -> None:
    (event,) = airflow()
    found = {(each.where, each.name) for each in kept_facets(read(encoded(event)), NAMES)}
    assert found == {
        ("run", "airflow"),
        ("run", "parent"),
        ("run", "lab_ticket"),
        ("job", "ownership"),
        ("output raw/plates", "outputStatistics"),
    }


WRONG: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "is not JSON"),
    "no text": (b"\xff\xfe", "is not JSON"),
    "a list": (b"[]", "the event is not an object"),
    "nothing in it": (b"{}", "neither a run, a job nor a dataset"),
    "no job": (encoded({"run": {"runId": str(UUID(int=1))}}), "a run and no job"),
    "deep": (b"[" * 100_000, "is not JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_event_is_refused_in_one_sentence(name: str) -> None:
    document, reason = WRONG[name]
    with pytest.raises(RejectedError, match=reason):
        read(document)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"eventTime": None}, "no eventTime"),
        ({"eventTime": "soon"}, "not a time"),
        ({"producer": 7}, "no producer"),
        ({"eventType": "DONE"}, "none of START"),
        ({"run": {"runId": "7"}}, "not a UUID"),
        ({"run": []}, "run is not an object"),
        ({"job": {"namespace": "a"}}, "no job.name"),
        ({"inputs": {}}, "inputs is not a list"),
        ({"inputs": [{"name": "a"}]}, r"no inputs\[0\].namespace"),
        ({"inputs": [{"namespace": "a", "name": "a\0b"}]}, "no database stores"),
        ({"inputs": [{"namespace": "a", "name": "\ud800"}]}, "no database stores"),
        ({"inputs": [{"namespace": "a", "name": "a" * 3_000}]}, "no database stores"),
        ({"outputs": [{"namespace": "a", "name": "b", "facets": {"columnLineage": {}}}]}, "does not fit"),
        ({"outputs": [{"namespace": "a", "name": "b", "facets": {"schema": {"fields": [1]}}}]}, "schema"),
        ({"run": {"runId": str(UUID(int=1)), "facets": {"headwater_lineage": {}}}}, "not as we write it"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(RejectedError, match=reason):
        edges({**airflow()[0], **change})


@pytest.mark.parametrize("fact", [{"a": {}}, {"a": 1.5}, {"a": 1 << 63}, {"a": [1]}])
def test_a_forged_entry_cannot_stop_the_relay(fact: dict[str, Any]) -> None:
    dataset = {"kind": "Dataset", "key": "a", "facts": fact}
    entry = {
        "relationship_type": "FEEDS",
        "source": dataset,
        "target": dataset,
        "created_at": 0,
        "facts": {},
    }
    content = {"datasets": {"a": {"namespace": "n", "name": "a"}}, "entries": [entry]}
    run = {"runId": str(UUID(int=1)), "facets": {"headwater_lineage": content}}
    with pytest.raises(RejectedError, match="not as we write it"):
        edges({**airflow()[0], "run": run})


def test_a_time_without_a_zone_is_utc() -> None:
    event = json.loads(encoded(airflow()[0]))
    event["eventTime"] = "2026-11-21T06:00:00"
    assert read(encoded(event)).at.utcoffset() is not None
