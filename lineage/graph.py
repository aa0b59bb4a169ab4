"""The projection in a property graph: constraints, batched writes, and reading all of it back.

Every node has the label of its kind and a unique `key`. A relationship's identity is its type, its two
ends and `via`; MERGE on that makes every write repeatable.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from . import query_files
from .fold import Fold
from .model import Fact, NodeKind, RelationshipType
from .ports import Graph
from .projection import NodeId, Projection, RelationshipId, earliest

CHUNK = 2_000
"""Rows per UNWIND (measured: larger ones bring nothing)."""

FOLDED = 2_000
"""Batches folded at a time."""
_BATCHES = query_files.read(__package__, "batches_to_fold.cypher").format(folded=FOLDED)
_FORGET = "UNWIND $keys AS key MATCH (b:Batch {key: key}) DETACH DELETE b"
ENDS = """
RETURN type(r) AS type, properties(r) AS facts, labels(a) AS source_labels, a.key AS source,
    labels(b) AS target_labels, b.key AS target
"""
"""A relationship `r` from `a` to `b`, with all that it is."""
_FROM_BATCHES = f"UNWIND $keys AS key MATCH (a:Batch {{key: key}})-[r]->(b) {ENDS}"
_TO_BATCHES = f"UNWIND $keys AS key MATCH (a)-[r]->(b:Batch {{key: key}}) {ENDS}"

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
    for (kind, source, target, via), facts in sorted(projection.relationships.items()):
        rows[kind, source[0], target[0]].append(
            {"source": source[1], "target": target[1], "via": via, "facts": dict(facts)}
        )
    return [
        (
            f"UNWIND $rows AS row MATCH (a:{source} {{key: row.source}}) "
            f"MATCH (b:{target} {{key: row.target}}) "
            f"MERGE {_between(kind, source, target)} WITH r, row "
            # the first record of a relationship counts, see `projection.earliest`
            "WHERE r.known_at IS NULL OR r.known_at > row.facts.known_at SET r += row.facts",
            {"rows": chunk},
        )
        for (kind, source, target), all_rows in rows.items()
        for chunk in _chunks(all_rows)
    ]


def _between(kind: RelationshipType, source: NodeKind, target: NodeKind) -> str:
    """The relationship from a to b, begun at its batch: the embedded engine looks through all that the node
    has which stands first, and a run writes batches without end."""
    if target is NodeKind.BATCH and source is not NodeKind.BATCH:
        return f"(b)<-[r:{kind} {{via: row.via}}]-(a)"
    return f"(a)-[r:{kind} {{via: row.via}}]->(b)"


def _chunks(rows: Sequence[Any]) -> list[Sequence[Any]]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]


async def fold(graph: Graph, day: Fold) -> None:
    """Turn the batches of a day into its node, a page at a time: killed in between, it goes on later."""
    limits = {
        "dataset": day.dataset,
        "first": day.first,
        "last": day.last,
        "since": day.since,
        "until": day.until,
    }
    while True:
        batches = await graph.read(_BATCHES, limits)
        if not batches:
            return
        keys = [row["key"] for row in batches]
        await write(graph, await _as_days(graph, keys, day))
        await graph.write([(_FORGET, {"keys": keys})])


async def _as_days(graph: Graph, keys: Sequence[str], day: Fold) -> Projection:
    """The relationships of these batches, as those of their day."""
    relationships: dict[RelationshipId, Mapping[str, Fact]] = {}
    for query in (_FROM_BATCHES, _TO_BATCHES):
        for row in await graph.read(query, {"keys": list(keys)}):
            facts = dict(row["facts"])
            ends = [(NodeKind(row[f"{end}_labels"][0]), row[end]) for end in ("source", "target")]
            source, target = ((kind, day.key if key in keys else key) for kind, key in ends)
            identity = (RelationshipType(row["type"]), source, target, str(facts.pop("via")))
            known = relationships.get(identity)
            relationships[identity] = facts if known is None else earliest(known, facts)
    nodes = {(NodeKind.BATCH, day.key): {"dataset": day.dataset, "day": day.day}}
    return Projection(nodes, relationships)


async def find(graph: Graph, wanted: Projection) -> Projection:
    """Those of the elements that the graph has, each with all its properties."""
    nodes: dict[NodeId, Mapping[str, Fact]] = {}
    relationships: dict[RelationshipId, Mapping[str, Fact]] = {}
    for kind, keys in _by_kind(wanted.nodes):
        query = f"UNWIND $keys AS key MATCH (n:{kind} {{key: key}}) RETURN key, properties(n) AS facts"
        for chunk in _chunks(keys):
            for row in await graph.read(query, {"keys": chunk}):
                nodes[kind, row["key"]] = {name: fact for name, fact in row["facts"].items() if name != "key"}
    for (type_, source, target), ends in _by_ends(wanted.relationships):
        query = (
            f"UNWIND $rows AS row MATCH (a:{source} {{key: row.source}})"
            f"-[r:{type_} {{via: row.via}}]->(b:{target} {{key: row.target}}) "
            "RETURN row.source AS source, row.target AS target, row.via AS via, properties(r) AS facts"
        )
        for chunk in _chunks(ends):
            for row in await graph.read(query, {"rows": chunk}):
                facts = {name: fact for name, fact in row["facts"].items() if name != "via"}
                identity = (type_, (source, row["source"]), (target, row["target"]), row["via"])
                relationships[identity] = facts
    return Projection(nodes, relationships)


def _by_kind(nodes: Iterable[NodeId]) -> Iterable[tuple[NodeKind, list[str]]]:
    keys: dict[NodeKind, list[str]] = defaultdict(list)
    for kind, key in nodes:
        keys[kind].append(key)
    return keys.items()


def _by_ends(
    relationships: Iterable[RelationshipId],
) -> Iterable[tuple[tuple[RelationshipType, NodeKind, NodeKind], list[dict[str, Any]]]]:
    ends: dict[tuple[RelationshipType, NodeKind, NodeKind], list[dict[str, Any]]] = defaultdict(list)
    for kind, source, target, via in relationships:
        ends[kind, source[0], target[0]].append({"source": source[1], "target": target[1], "via": via})
    return ends.items()


async def clear(graph: Graph) -> None:
    """Delete every node and relationship, in transactions of bounded size."""
    while True:
        rows = await graph.read("MATCH (n) RETURN count(n) AS nodes", {})
        if not rows[0]["nodes"]:
            return
        await graph.write([(f"MATCH (n) WITH n LIMIT {CHUNK} DETACH DELETE n", {})])
