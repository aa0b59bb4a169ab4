"""Entries of another Headwater, read from its events: checked to the last field, and kept apart from ours.

What a node has beyond what its key says (its rows, …) is told of the relationship, as `source_rows` and
`target_rows`. Entries that take something away (a version out of force, batches into a day) are not taken,
nor is anything of an event of our own that comes back: `left_out` names them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import apart
from ..model import Edge, Fact, NodeKind, RelationshipType
from . import checks
from .elsewhere import Elsewhere
from .facets import ENTRIES
from .names import Names

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FACET = ("_producer", "_schemaURL", "store", "batch", "datasets", "entries")
_ADDED_LATER = ("_producer", "_schemaURL", "store")
_NULLABLE = ("transformation_id", "run_id")
_ENTRY = (
    "writer",
    "number",
    "batch",
    "relationship_type",
    "source",
    "target",
    "created_at",
    "facts",
    *_NULLABLE,
)
_OF_THE_RELATIONSHIP = frozenset(
    {"relationship_type", "created_at", "known_at", "transformation_id", "run_id", "via", "key"}
)
"""What a relationship says itself, so that no fact may be called so."""

_STORED = {NodeKind.BATCH, NodeKind.DATASET}
_CODE, _COLUMN, _SUBJECT, _RUN = (
    {NodeKind.TRANSFORMATION},
    {NodeKind.COLUMN},
    {NodeKind.SUBJECT},
    {NodeKind.RUN},
)
_ENDS: Mapping[RelationshipType, tuple[set[NodeKind], set[NodeKind]]] = {
    RelationshipType.FEEDS: (_STORED, _STORED),
    RelationshipType.DERIVES: (_COLUMN | {NodeKind.DATASET} | _CODE, _COLUMN),
    RelationshipType.PART_OF: (_COLUMN | {NodeKind.BATCH}, {NodeKind.DATASET}),
    RelationshipType.ABOUT: (_SUBJECT, _STORED),
    RelationshipType.WROTE: (_RUN, {NodeKind.BATCH}),
    RelationshipType.RAN: (_RUN, _CODE),
    RelationshipType.USED: (_SUBJECT, _SUBJECT),
    RelationshipType.SUPERSEDES: (_CODE, _CODE),
    RelationshipType.FOLDS: ({NodeKind.BATCH}, {NodeKind.DATASET}),
}
_TAKES_AWAY = (RelationshipType.SUPERSEDES, RelationshipType.FOLDS)


def edges_in(content: Mapping[str, Any], namespace: str, names: Names) -> list[Edge]:
    """The edges of a facet of entries, in the sender's namespace; of our own entries none.

    `namespace` is the sender where no store is named, as in exports of before. Nulls may have been left out.
    Raises RejectedError when it is not what `entries_facet` writes.
    """
    checks.with_fields(content, "it", _FACET, may_lack=_ADDED_LATER)
    checks.a_whole(content["batch"], "its batch")
    for uri, name in checks.an_object(content["datasets"], "its datasets").items():
        for part in checks.with_fields(name, f"the dataset {uri[:80]!a}", ("namespace", "name")).values():
            checks.a_text(part, f"a name of the dataset {uri[:80]!a}")
    sender = Elsewhere(_sender(content, namespace))
    entries = checks.a_list(content["entries"], "its entries")
    edges = [_edge(sender, entry, f"entry {place}") for place, entry in enumerate(entries, start=1)]
    ours = _is_ours(content, namespace, names)
    return [edge for edge in edges if not ours and edge.relationship_type not in _TAKES_AWAY]


def left_out(content: Mapping[str, Any], namespace: str, names: Names) -> list[str]:
    """What of a good facet is in no graph: all of it where it is ours, else what takes something away."""
    if _is_ours(content, namespace, names):
        return [ENTRIES]
    told = {entry["relationship_type"] for entry in content["entries"]}
    return [f"{ENTRIES}.{kind}" for kind in _TAKES_AWAY if kind in told]


def _sender(content: Mapping[str, Any], namespace: str) -> str:
    return checks.a_text(content.get("store") or namespace, "its store")


def _is_ours(content: Mapping[str, Any], namespace: str, names: Names) -> bool:
    return bool(names.store) and _sender(content, namespace) == names.store


def _edge(sender: Elsewhere, given: Any, what: str) -> Edge:
    entry = checks.with_fields(given, what, _ENTRY, may_lack=_NULLABLE)
    for name in ("writer", "number", "batch"):
        checks.a_whole(entry[name], f"{what}'s {name}")
    kind = checks.one_of(RelationshipType, entry["relationship_type"], f"{what}'s relationship_type")
    source, source_facts = sender.node(entry["source"], f"{what}'s source")
    target, target_facts = sender.node(entry["target"], f"{what}'s target")
    if source.kind not in _ENDS[kind][0] or target.kind not in _ENDS[kind][1]:
        raise checks.wrong(f"{what} goes from a {source.kind} to a {target.kind}, as no {kind} does")
    code, run = entry.get("transformation_id"), entry.get("run_id")
    return Edge(
        relationship_type=kind,
        source=source,
        target=target,
        created_at=_moment(entry["created_at"], f"{what}'s created_at"),
        transformation_id=None if code is None else sender.code(code, f"{what}'s transformation_id"),
        run_id=None if run is None else sender.run(run, f"{what}'s run_id"),
        facts={
            **_facts(entry["facts"], f"{what}'s facts"),
            **{f"source_{name}": value for name, value in source_facts.items()},
            **{f"target_{name}": value for name, value in target_facts.items()},
            apart.TOLD_BY: sender.prefix,
        },
    )


def _facts(given: Any, what: str) -> Mapping[str, Fact]:
    facts = checks.facts(given, what)
    if taken := sorted(facts.keys() & _OF_THE_RELATIONSHIP):
        raise checks.wrong(f"{what}: {taken[0]} is for the relationship itself to say")
    if "valid_from" in facts:
        checks.a_whole(facts["valid_from"], f"{what}: valid_from")
    return facts


def _moment(given: Any, what: str) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=checks.a_whole(given, what))
    except OverflowError as error:
        raise checks.wrong(f"{what} is no time") from error
