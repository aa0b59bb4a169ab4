"""The graph as a pure function of the log.

One entry says source → target. From it follow, by rule, the nodes and up to six relationships:

    (source)-[the entry's type]->(target)
    (batch or column)-[:PART_OF]->(its dataset)            for each end that is one
    (dataset)-[:FEEDS]->(dataset)                          when one dataset's batch feeds another's
    (run)-[:WROTE]->(target)                               when a FEEDS into a batch names a run
    (run)-[:RAN]->(transformation)                         when it names a transformation too

So the log stays small, a rebuild reproduces the graph, and an entry carried twice changes nothing.

An entry that says who told it (`apart.TOLD_BY`) is somebody else's and can only add: what follows from it are
relationships of their own beside ours, and of a dataset or a column of ours that it names nothing is said.
Entries without that fact, also those imported before it was written, are read as they always were.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from . import apart, form
from .canonical import canonical_json
from .log import Entry
from .model import Edge, Fact, Node, NodeKind, RelationshipType, micros

NodeId = tuple[NodeKind, str]
RelationshipId = tuple[RelationshipType, NodeId, NodeId, str]
"""Type, source, target and `via`: what tells two of them apart (see `_via`)."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Nodes and relationships with their properties, each by its identity."""

    nodes: Mapping[NodeId, Mapping[str, Fact]]
    relationships: Mapping[RelationshipId, Mapping[str, Fact]]


def project(entries: Iterable[Entry], known_at: int) -> Projection:
    """The part of the graph these entries make; the union over all seals is the graph.

    `known_at`: the time of their seal, in microseconds since 1970 UTC. Nothing is made of an entry that
    `form.cannot_be_projected`.
    """
    nodes: dict[NodeId, dict[str, Fact]] = {}
    relationships: dict[RelationshipId, Mapping[str, Fact]] = {}
    for entry in entries:
        if form.cannot_be_projected(entry.edge):
            continue
        told_by = _told_by(entry.edge)
        for node in _nodes(entry.edge):
            facts_of = nodes.setdefault((node.kind, node.key), {})
            if not (told_by and _is_ours(node)):
                facts_of.update(node.facts)
        for kind, source, target in _relationships(entry.edge):
            identity = (kind, (source.kind, source.key), (target.kind, target.key), _via(kind, entry.edge))
            facts = _facts(kind, target, entry.edge, known_at)
            known = relationships.get(identity)
            relationships[identity] = facts if known is None else earliest(known, facts)
    return Projection(nodes, relationships)


def _nodes(edge: Edge) -> Iterable[Node]:
    yield edge.source
    yield edge.target
    for node in (edge.source, edge.target):
        if _is_part(node):
            yield _dataset_of(node)
    if edge.run_id is not None:
        yield Node(NodeKind.RUN, str(edge.run_id))
    if edge.transformation_id is not None:
        yield Node(NodeKind.TRANSFORMATION, edge.transformation_id)


def _relationships(edge: Edge) -> Iterable[tuple[RelationshipType, Node, Node]]:
    source, target = edge.source, edge.target
    yield edge.relationship_type, source, target
    for node in (source, target):
        if _is_part(node):
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


_CARRIES = (RelationshipType.FEEDS, RelationshipType.DERIVES)


def _via(kind: RelationshipType, edge: Edge) -> str:
    """What tells relationships of one type between the same two nodes apart: who made it, or when."""
    if kind in _CARRIES:
        return edge.transformation_id or _told_by(edge)
    if kind is not RelationshipType.SUPERSEDES:
        return _told_by(edge)
    return str(edge.facts.get("reign", micros(edge.created_at)))  # older entries say only when


def _told_by(edge: Edge) -> str:
    """Who of others told it; empty if it is ours."""
    return str(edge.facts.get(apart.TOLD_BY) or "")


def _is_ours(node: Node) -> bool:
    """Whether it is a dataset of ours, or a part of one."""
    part = node.kind in (NodeKind.DATASET, NodeKind.COLUMN, NodeKind.BATCH)
    return part and not apart.is_theirs(node.key)


def _facts(kind: RelationshipType, target: Node, edge: Edge, known_at: int) -> dict[str, Fact]:
    """Every relationship says since when it holds and is known; those of data also who made it."""
    created_at = micros(edge.created_at)
    facts: dict[str, Fact] = {
        "relationship_type": kind.value,
        "created_at": created_at,
        "valid_from": edge.facts.get("valid_from", created_at),
        "known_at": known_at,
    }
    if kind in _CARRIES:
        facts["transformation_id"] = edge.transformation_id
        if _is_batch(target):
            facts["run_id"] = str(edge.run_id) if edge.run_id else None
    if kind is edge.relationship_type:
        facts |= edge.facts
    return facts


Facts = TypeVar("Facts", bound=Mapping[str, Fact])


def earliest(one: Facts, other: Facts) -> Facts:
    """Of two records of one relationship the first one known counts, so that what was known stays so."""
    return one if _moment(one) <= _moment(other) else other


def _moment(facts: Mapping[str, Fact]) -> tuple[int, int, int, str]:
    known_at, created_at, valid_from = (
        _whole(facts[name]) for name in ("known_at", "created_at", "valid_from")
    )
    return known_at, created_at, valid_from, str(facts.get("run_id") or "")


def _whole(fact: Fact) -> int:
    """A time; 0 for what is none, as an entry that is not shown may have (see `form.py`)."""
    try:
        return int(fact or 0)
    except (TypeError, ValueError):
        return 0


def _is_batch(node: Node) -> bool:
    return node.kind is NodeKind.BATCH


def _is_part(node: Node) -> bool:
    """Whether a node belongs to a dataset."""
    return node.kind in (NodeKind.BATCH, NodeKind.COLUMN)


def _dataset_of(node: Node) -> Node:
    return Node(NodeKind.DATASET, str(node.facts["dataset"]))


def element_hash(identity: NodeId | RelationshipId, properties: Mapping[str, Fact]) -> int:
    """The first 64 bits of SHA-256 over an element's canonical JSON; nulls and the key are left out."""
    kept = {name: value for name, value in properties.items() if value is not None}
    text = canonical_json([identity, kept])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def digest(projection: Projection) -> int:
    """The sum of all element hashes modulo 2^64: the same whatever the order."""
    total = sum(element_hash(identity, facts) for identity, facts in projection.nodes.items())
    total += sum(element_hash(identity, facts) for identity, facts in projection.relationships.items())
    return total % (1 << 64)
