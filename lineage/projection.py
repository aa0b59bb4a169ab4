"""The graph as a pure function of the log.

One entry says source → target. From it follow, by rule, the nodes and up to six relationships:

    (source)-[the entry's type]->(target)
    (batch)-[:PART_OF]->(its dataset)                      for each end that is a batch
    (dataset)-[:FEEDS]->(dataset)                          when one dataset's batch feeds another's
    (run)-[:WROTE]->(target)                               when the entry names a run and writes a batch
    (run)-[:RAN]->(transformation)                         when it names both

So the log stays small, a rebuild reproduces the graph, and an entry carried twice changes nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from .log import Entry
from .model import Edge, Fact, Node, NodeKind, RelationshipType, micros

NodeId = tuple[NodeKind, str]
RelationshipId = tuple[RelationshipType, NodeId, NodeId, str]
"""Type, source, target and transformation id ("" where there is none)."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Nodes and relationships with their properties, each by its identity."""

    nodes: Mapping[NodeId, Mapping[str, Fact]]
    relationships: Mapping[RelationshipId, Mapping[str, Fact]]


def project(entries: Iterable[Entry]) -> Projection:
    """The part of the graph these entries make; the union over all entries is the graph."""
    nodes: dict[NodeId, dict[str, Fact]] = {}
    relationships: dict[RelationshipId, dict[str, Fact]] = {}
    for entry in entries:
        for node in _nodes(entry.edge):
            nodes.setdefault((node.kind, node.key), {}).update(node.facts)
        for kind, source, target in _relationships(entry.edge):
            _relate(relationships, kind, source, target, entry.edge)
    return Projection(nodes, relationships)


def _nodes(edge: Edge) -> Iterable[Node]:
    yield edge.source
    yield edge.target
    for node in (edge.source, edge.target):
        if _is_batch(node):
            yield _dataset_of(node)
    if edge.run_id is not None:
        yield Node(NodeKind.RUN, str(edge.run_id))
    if edge.transformation_id is not None:
        yield Node(NodeKind.TRANSFORMATION, edge.transformation_id)


def _relationships(edge: Edge) -> Iterable[tuple[RelationshipType, Node, Node]]:
    source, target = edge.source, edge.target
    yield edge.relationship_type, source, target
    for node in (source, target):
        if _is_batch(node):
            yield RelationshipType.PART_OF, node, _dataset_of(node)
    if edge.relationship_type is not RelationshipType.FEEDS or not _is_batch(target):
        return
    if _is_batch(source) and _dataset_of(source) != _dataset_of(target):
        yield RelationshipType.FEEDS, _dataset_of(source), _dataset_of(target)
    if edge.run_id is not None:
        yield RelationshipType.WROTE, Node(NodeKind.RUN, str(edge.run_id)), target
        if edge.transformation_id is not None:
            ran = Node(NodeKind.TRANSFORMATION, edge.transformation_id)
            yield RelationshipType.RAN, Node(NodeKind.RUN, str(edge.run_id)), ran


_BETWEEN_BATCHES = (RelationshipType.FEEDS, RelationshipType.DERIVES)


def _relate(
    relationships: dict[RelationshipId, dict[str, Fact]],
    kind: RelationshipType,
    source: Node,
    target: Node,
    edge: Edge,
) -> None:
    """Add a relationship; between batches it carries who made it and when, else it only stands."""
    carries = kind in _BETWEEN_BATCHES
    transformation = (edge.transformation_id or "") if carries else ""
    identity = (kind, (source.kind, source.key), (target.kind, target.key), transformation)
    properties: dict[str, Fact] = {"relationship_type": kind.value}
    if carries and _is_batch(target):
        properties |= {
            "transformation_id": edge.transformation_id,
            "run_id": str(edge.run_id) if edge.run_id else None,
            "created_at": micros(edge.created_at),
        }
    elif carries:
        properties["transformation_id"] = edge.transformation_id
    known = relationships.get(identity)
    relationships[identity] = properties if known is None else newest(known, properties)


Facts = TypeVar("Facts", bound=Mapping[str, Fact])


def newest(one: Facts, other: Facts) -> Facts:
    """Of two records of one relationship (an hour made again from the same batch) the newest counts.

    So it does not matter in which order the entries of several writers are carried.
    """
    return one if _moment(one) > _moment(other) else other


def _moment(properties: Mapping[str, Fact]) -> tuple[int, str]:
    return int(properties.get("created_at") or 0), str(properties.get("run_id") or "")


def _is_batch(node: Node) -> bool:
    return node.kind is NodeKind.BATCH


def _dataset_of(node: Node) -> Node:
    return Node(NodeKind.DATASET, str(node.facts["dataset"]))


def element_hash(identity: NodeId | RelationshipId, properties: Mapping[str, Fact]) -> int:
    """The first 64 bits of SHA-256 over an element's canonical JSON; nulls and the key are left out."""
    kept = {name: value for name, value in properties.items() if value is not None}
    text = json.dumps([identity, kept], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def digest(projection: Projection) -> int:
    """The sum of all element hashes modulo 2^64: the same whatever the order."""
    total = sum(element_hash(identity, facts) for identity, facts in projection.nodes.items())
    total += sum(element_hash(identity, facts) for identity, facts in projection.relationships.items())
    return total % (1 << 64)
