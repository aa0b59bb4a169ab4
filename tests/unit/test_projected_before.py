"""What was imported by earlier versions makes the same graph for ever: its digest stands in seals."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lineage.log import FIRST_HEAD, Entry
from lineage.model import (
    Edge,
    Node,
    NodeKind,
    RelationshipType,
    Transformation,
    batch_node,
    column_node,
    dataset_node,
    transformation_node,
)
from lineage.projection import digest, project

AT = datetime(2026, 11, 21, 8, tzinfo=UTC)
LAKE, RUN = "openlineage:s3://lake/a.b", UUID(int=7)
JOB = Transformation(name="openlineage:dbt/model", version="x@1")


def edge(kind: RelationshipType, source: Node, target: Node, *, later: int = 0, **facts: Any) -> Edge:
    return Edge(
        relationship_type=kind,
        source=source,
        target=target,
        created_at=AT + timedelta(seconds=later),
        transformation_id=JOB.id,
        run_id=RUN,
        facts=facts,
    )


READINGS = "postgres:sensor_readings"
RAN = Node(NodeKind.RUN, str(RUN), {"kind": "openlineage", "name": "dbt/model", "started_at": 1, "by": None})
IMPORTED = [
    edge(RelationshipType.RAN, RAN, transformation_node(JOB)),
    edge(RelationshipType.FEEDS, dataset_node(READINGS), dataset_node(LAKE)),
    edge(RelationshipType.PART_OF, column_node(LAKE, "c.d"), dataset_node(LAKE)),
    edge(RelationshipType.PART_OF, column_node(READINGS, "t"), dataset_node(READINGS), later=-60),
    edge(RelationshipType.PART_OF, column_node(READINGS, "t"), dataset_node(READINGS), valid_from=3),
    edge(RelationshipType.DERIVES, column_node(READINGS, "t"), column_node(LAKE, "c.d"), direct="IDENTITY"),
    # … and by the facet of entries, which took whatever it held
    edge(RelationshipType.FEEDS, batch_node("postgres:raw_batches", 2), batch_node(READINGS, 2, rows=999)),
    edge(
        RelationshipType.SUPERSEDES,
        Node(NodeKind.TRANSFORMATION, "a@2"),
        Node(NodeKind.TRANSFORMATION, "a@1"),
    ),
    edge(
        RelationshipType.PART_OF,
        Node(NodeKind.BATCH, f"{READINGS}#3", {"dataset": READINGS, "number": "abc"}),
        dataset_node(READINGS),
    ),
    edge(RelationshipType.PART_OF, batch_node(READINGS, 4, key="x"), dataset_node(READINGS), via="v"),
    edge(RelationshipType.FOLDS, batch_node(READINGS, 5, day="1970-01-01"), dataset_node(READINGS)),
    edge(RelationshipType.WROTE, RAN, batch_node(READINGS, 5), created_at="abc"),
]


def test_the_digest_of_what_was_imported_is_what_it_was() -> None:
    entries = [Entry(1, place, 1, each, FIRST_HEAD) for place, each in enumerate(IMPORTED, start=1)]
    assert f"{digest(project(entries, 1_000_000)):016x}" == "86433e236685fd3b"
