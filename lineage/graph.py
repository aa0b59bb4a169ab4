"""The projection in a property graph: constraints, batched writes, and reading all of it back.

Every node has the label of its kind and a unique `key`. A relationship's identity is its type, its two
ends and `transformation_id`; MERGE on that makes every write repeatable.
"""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import resources
from typing import Any

from .model import Fact, NodeKind, RelationshipType
from .ports import Graph
from .projection import NodeId, Projection, RelationshipId

CHUNK = 2_000
"""Rows per UNWIND (measured: larger ones bring nothing)."""

Statement = tuple[str, Mapping[str, Any]]


async def migrate(graph: Graph) -> None:
    """Create the constraints and indexes; running it again changes nothing."""
    for statement in _migrations():
        await graph.write([(statement, {})])


async def missing_constraints(graph: Graph) -> list[str]:
    """The constraints that `migrate` would create; without one a node may be there twice."""
    rows = await graph.read("SHOW CONSTRAINTS YIELD name RETURN name", {})
    wanted = re.findall(r"^CREATE CONSTRAINT (\w+)", "\n".join(_migrations()), re.MULTILINE)
    return sorted(set(wanted) - {row["name"] for row in rows})


def _migrations() -> list[str]:
    folder = resources.files(__package__) / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".cypher")), key=lambda f: f.name)
    return [statement for file in files for statement in _statements(file.read_text(encoding="utf-8"))]


def _statements(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


async def write(graph: Graph, projection: Projection) -> None:
    """Merge a projection into the graph, nodes first, in one transaction."""
    statements = [*_node_statements(projection), *_relationship_statements(projection)]
    if statements:
        await graph.write(statements)


def _node_statements(projection: Projection) -> list[Statement]:
    rows: dict[NodeKind, list[dict[str, Any]]] = defaultdict(list)
    for (kind, key), facts in sorted(projection.nodes.items()):
        rows[kind].append({"key": key, "facts": dict(facts)})
    return [
        (f"UNWIND $rows AS row MERGE (n:{kind} {{key: row.key}}) SET n += row.facts", {"rows": chunk})
        for kind, all_rows in rows.items()
        for chunk in _chunks(all_rows)
    ]


def _relationship_statements(projection: Projection) -> list[Statement]:
    rows: dict[tuple[RelationshipType, NodeKind, NodeKind], list[dict[str, Any]]] = defaultdict(list)
    for (kind, source, target, transformation), facts in sorted(projection.relationships.items()):
        rows[kind, source[0], target[0]].append(
            {"source": source[1], "target": target[1], "via": transformation, "facts": dict(facts)}
        )
    return [
        (
            f"UNWIND $rows AS row MATCH (a:{source} {{key: row.source}}) "
            f"MATCH (b:{target} {{key: row.target}}) "
            f"MERGE (a)-[r:{kind} {{via: row.via}}]->(b) WITH r, row "
            # the newest record of a relationship counts, see `projection.project`
            "WHERE coalesce(r.created_at, 0) <= coalesce(row.facts.created_at, 0) SET r += row.facts",
            {"rows": chunk},
        )
        for (kind, source, target), all_rows in rows.items()
        for chunk in _chunks(all_rows)
    ]


def _chunks(rows: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]


async def read_nodes(graph: Graph) -> AsyncIterator[tuple[NodeId, Mapping[str, Fact]]]:
    """Every node with its properties."""
    async for row in graph.stream("MATCH (n) RETURN labels(n) AS labels, properties(n) AS facts"):
        facts = dict(row["facts"])
        yield (NodeKind(row["labels"][0]), facts.pop("key")), facts


async def read_relationships(graph: Graph) -> AsyncIterator[tuple[RelationshipId, Mapping[str, Fact]]]:
    """Every relationship with its properties."""
    query = (
        "MATCH (a)-[r]->(b) RETURN type(r) AS type, properties(r) AS facts, "
        "labels(a) AS source_labels, a.key AS source, labels(b) AS target_labels, b.key AS target"
    )
    async for row in graph.stream(query):
        facts = dict(row["facts"])
        source = (NodeKind(row["source_labels"][0]), row["source"])
        target = (NodeKind(row["target_labels"][0]), row["target"])
        yield (RelationshipType(row["type"]), source, target, facts.pop("via")), facts


async def read(graph: Graph) -> Projection:
    """The whole graph as a projection, to be compared with the log's."""
    nodes = {identity: facts async for identity, facts in read_nodes(graph)}
    return Projection(nodes, {identity: facts async for identity, facts in read_relationships(graph)})


async def clear(graph: Graph) -> None:
    """Delete every node and relationship, in transactions of bounded size."""
    while True:
        rows = await graph.read("MATCH (n) RETURN count(n) AS nodes", {})
        if not rows[0]["nodes"]:
            return
        await graph.write([(f"MATCH (n) WITH n LIMIT {CHUNK} DETACH DELETE n", {})])
