"""The facet that holds entries of our log, and the edges it gives back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ..log import Entry, canonical
from ..model import Edge, Fact, Node, NodeKind, RelationshipType
from .facets import ENTRIES, facet
from .names import Name, Names

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def dataset_of(node: Node) -> str | None:
    """The URI of the dataset a node is, or is part of."""
    if node.kind is NodeKind.DATASET:
        return node.key
    if node.kind in (NodeKind.BATCH, NodeKind.COLUMN):
        return str(node.facts["dataset"])
    return None


def entries_facet(batch: int, entries: Sequence[Entry], names: Names) -> Mapping[str, Any]:
    """Entries as they are hashed, and what their datasets are called outside."""
    ends = [node for entry in entries for node in (entry.edge.source, entry.edge.target)]
    uris = sorted({uri for node in ends if (uri := dataset_of(node)) is not None})
    return facet(
        ENTRIES,
        batch=batch,
        datasets={uri: names.of(uri)._asdict() for uri in uris},
        entries=[json.loads(canonical(e.writer, e.number, e.batch, e.edge)) for e in entries],
    )


def edges_in(content: Mapping[str, Any], names: Names) -> list[Edge]:
    """The edges a facet holds, their datasets by the names of this house; nulls may have been left out.

    Raises KeyError, TypeError, ValueError, AttributeError or OverflowError when it is not what
    `entries_facet` writes.
    """
    ours = {uri: names.uri(Name(**name)) for uri, name in content["datasets"].items()}
    return [_edge(entry, ours) for entry in content["entries"]]


def _edge(entry: Mapping[str, Any], ours: Mapping[str, str]) -> Edge:
    return Edge(
        relationship_type=RelationshipType(entry["relationship_type"]),
        source=_node(entry["source"], ours),
        target=_node(entry["target"], ours),
        created_at=_EPOCH + timedelta(microseconds=entry["created_at"]),
        transformation_id=entry.get("transformation_id"),
        run_id=UUID(entry["run_id"]) if entry.get("run_id") else None,
        facts=_facts(entry["facts"]),
    )


def _node(written: Mapping[str, Any], ours: Mapping[str, str]) -> Node:
    node = Node(NodeKind(written["kind"]), str(written["key"]), _facts(written["facts"]))
    uri = dataset_of(node)
    if uri is None:
        return node
    here = ours[uri]
    facts = {**node.facts, "dataset": here} if "dataset" in node.facts else node.facts
    return Node(node.kind, here + node.key.removeprefix(uri), facts)


def _facts(written: Mapping[str, Any]) -> Mapping[str, Fact]:
    """Facts as a graph can hold them: anything else would stop the relay."""
    for name, value in written.items():
        if not isinstance(value, str | int | None) or (isinstance(value, int) and abs(value) >= 1 << 63):
            raise TypeError(f"the fact {name} is neither a text, a whole number, a truth value nor nothing")
    return dict(written)


def texts_of(edges: Iterable[Edge]) -> Iterable[str]:
    """Every text of these edges that is written to the log or the graph."""
    for edge in edges:
        yield from (edge.source.key, edge.target.key, edge.transformation_id or "")
        for facts in (edge.facts, edge.source.facts, edge.target.facts):
            yield from (text for pair in facts.items() for text in pair if isinstance(text, str))
