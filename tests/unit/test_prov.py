"""PROV-JSON: read by the W3C format's own library, and every entry of ours is in it."""

import json
from typing import Any

from prov.model import (
    ProvActivity,
    ProvAgent,
    ProvAssociation,
    ProvAttribution,
    ProvDerivation,
    ProvDocument,
    ProvEntity,
    ProvGeneration,
    ProvInfluence,
    ProvMembership,
    ProvUsage,
)

from lineage.model import (
    Node,
    NodeKind,
    RelationshipType,
    Transformation,
    batch_node,
    subject_node,
    transformation_node,
)
from lineage.prov import provenance
from tests.unit.test_openlineage_export import COMMITS, MQTT, RAW, READINGS, RUN, SENSORS, commit, edge

EXPERIMENT = edge(RelationshipType.ABOUT, subject_node("experiment", "x1"), batch_node(READINGS, 2))
CONTENT = provenance([*COMMITS, commit(4, EXPERIMENT)])


def read() -> ProvDocument:
    found = ProvDocument.deserialize(content=json.dumps(CONTENT), format="json")
    assert isinstance(found, ProvDocument)
    return found


def relations(kind: Any) -> set[tuple[str, ...]]:
    """The local names a kind of relation joins, in the order PROV gives them."""
    return {
        tuple(value.localpart for _, value in each.formal_attributes if hasattr(value, "localpart"))
        for each in read().get_records(kind)
    }


def test_batches_were_made_of_batches_in_a_run() -> None:
    mqtt, raw = "batch/mqtt%3Asensors/%2B/readings%231", "batch/postgres%3Araw_batches%231"
    readings, run = "batch/postgres%3Asensor_readings%231", f"run/{RUN.id}"
    assert {(raw, mqtt, run), (readings, raw, run)} <= relations(ProvDerivation)
    assert {(run, mqtt), (run, raw)} <= relations(ProvUsage)
    assert {(raw, run), (readings, run)} <= relations(ProvGeneration)


def test_columns_datasets_and_code_are_told() -> None:
    derived = relations(ProvDerivation)
    temperature = "column/postgres%3Asensor_readings.temperature"
    assert (temperature, "column/postgres%3Araw_batches.payload", f"run/{RUN.id}") in derived
    assert ("dataset/postgres%3Asensor_readings", temperature) in relations(ProvMembership)
    assert relations(ProvAssociation) == {
        (f"run/{RUN.id}", "system/headwater", "transformation/sensors%40a1")
    }


def test_a_device_is_an_agent_and_an_experiment_an_influence() -> None:
    assert relations(ProvAttribution) == {("dataset/postgres%3Asensor_readings", "subject/device%3Ad1")}
    assert relations(ProvInfluence) == {("batch/postgres%3Asensor_readings%232", "subject/experiment%3Ax1")}


def test_every_end_of_a_relation_is_declared_and_labelled() -> None:
    declared = {
        record.identifier.localpart: str(record.label)
        for kind in (ProvEntity, ProvActivity, ProvAgent)
        for record in read().get_records(kind)
    }
    kinds = (ProvDerivation, ProvUsage, ProvGeneration, ProvMembership, ProvAssociation, ProvInfluence)
    ends = {end for kind in kinds for pair in relations(kind) for end in pair}
    assert ends <= declared.keys()
    assert {MQTT, RAW, READINGS} <= set(declared.values())
    (activity,) = read().get_records(ProvActivity)
    assert activity.get_startTime() == RUN.started_at


def test_what_is_said_twice_stands_there_once() -> None:
    assert provenance([*COMMITS, *COMMITS, commit(4, EXPERIMENT)]) == CONTENT


def test_new_code_is_a_revision_and_what_an_experiment_used_an_influence() -> None:
    newer = edge(
        RelationshipType.SUPERSEDES,
        transformation_node(Transformation(name="sensors", version="b2")),
        transformation_node(SENSORS),
    )
    plate = Node(NodeKind.SUBJECT, "labware:p1", {"kind": "labware", "id": "p1"})
    used = edge(RelationshipType.USED, subject_node("experiment", "x1"), plate)
    content = provenance([commit(6, newer, used)])
    (revision,) = content["wasDerivedFrom"].values()
    assert revision == {
        "prov:generatedEntity": "hw:transformation/sensors%40b2",
        "prov:usedEntity": "hw:transformation/sensors%40a1",
        "prov:type": {"$": "prov:Revision", "type": "prov:QUALIFIED_NAME"},
    }
    (influence,) = content["wasInfluencedBy"].values()
    assert influence["prov:influencer"] == "hw:subject/labware%3Ap1"


def test_others_systems_are_agents_of_their_own() -> None:
    theirs = "openlineage:airflow-lab/plates.copy@1"
    made = edge(RelationshipType.FEEDS, batch_node(RAW, 1), batch_node(READINGS, 1))
    foreign = type(made)(
        relationship_type=made.relationship_type,
        source=made.source,
        target=made.target,
        created_at=made.created_at,
        transformation_id=theirs,
    )
    content = provenance([commit(5, foreign)])
    assert list(content["agent"]) == ["hw:system/airflow-lab"]
    assert list(content["activity"]) == ["hw:commit/5"]
