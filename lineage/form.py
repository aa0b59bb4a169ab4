"""The form of an entry of which a graph can be made.

An entry that has another one stays in the log and in its seal, and is left out of the graph: the relay goes
on and keeps the reason in `store.not_in_graph`, and whoever asks is told (`headwater status`, a metric, a
proof).
"""

from collections.abc import Mapping
from typing import Any

from .model import Edge, Node, NodeKind, RelationshipType

LONGEST_KEY = 8_000
"""Bytes; the graph's indexes hold no longer one."""

_PARTS = (NodeKind.BATCH, NodeKind.COLUMN)
_TIMES = ("created_at", "valid_from", "known_at")
_DAY = ("first", "last", "since", "until")
_NODE_HAS = frozenset({"key"})
_RELATIONSHIP_HAS = frozenset({"via"})


def cannot_be_projected(edge: Edge) -> str | None:
    """Why nothing at all can be made of an entry: what `projection.project` leaves out."""
    for node in (edge.source, edge.target):
        if node.kind in _PARTS and "dataset" not in node.facts:
            return f"the {node.kind} {_short(node.key)} names no dataset"
    return None


def cannot_be_shown(edge: Edge) -> str | None:
    """Why an entry is left out of the graph, None for one that is in it."""
    return (
        cannot_be_projected(edge)
        or _node(edge.source)
        or _node(edge.target)
        or _key(edge.transformation_id or "")
        or _facts("the relationship", edge.facts, _RELATIONSHIP_HAS)
        or (_day(edge.source.facts) if edge.relationship_type is RelationshipType.FOLDS else None)
    )


def _node(node: Node) -> str | None:
    what = f"the {node.kind} {_short(node.key)}"
    if node.kind in _PARTS and not isinstance(node.facts["dataset"], str):
        return f"{what} names no dataset"
    return _key(node.key) or _facts(what, node.facts, _NODE_HAS)


def _facts(what: str, facts: Mapping[str, Any], has: frozenset[str]) -> str | None:
    for name, value in facts.items():
        if not name or name in has:
            return f"{what} has a fact called {name!r}, which is not for facts to say"
        if not isinstance(value, str | int | None) or (isinstance(value, int) and abs(value) >= 1 << 63):
            return f"{what} has a fact {_short(name)} that no graph can hold"
        if name in _TIMES and not isinstance(value, int | None):
            return f"{what} has a {name} that is no time"
    return None


def _day(facts: Mapping[str, Any]) -> str | None:
    whole = all(isinstance(facts.get(name), int) for name in _DAY)
    return None if whole and isinstance(facts.get("day"), str) else "it folds a day that it does not name"


def _key(key: str) -> str | None:
    return f"the key {_short(key)} is too long" if len(key.encode()) > LONGEST_KEY else None


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"
