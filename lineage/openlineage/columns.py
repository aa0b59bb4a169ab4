"""Column edges as OpenLineage's columnLineage facet, and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import apart
from ..model import Edge, Fact, Node, NodeKind, RelationshipType
from .names import Name, Names

DIRECT = ("AGGREGATION", "TRANSFORMATION", "IDENTITY")
"""Subtypes, the one that says most of the change first."""


def lineage_fields(edges: Iterable[Edge], names: Names) -> dict[str, Any]:
    """The facet's `fields`: output column → the columns it comes from.

    A column that comes of rows or of a constant alone has no input fields.
    """
    fields: dict[str, Any] = {}
    for edge in edges:
        if edge.relationship_type is RelationshipType.DERIVES and edge.target.kind is NodeKind.COLUMN:
            made = fields.setdefault(str(edge.target.facts["column"]), {"inputFields": []})
            if edge.source.kind is NodeKind.COLUMN:
                made["inputFields"].append(_input_field(edge, names))
    return fields


def _input_field(edge: Edge, names: Names) -> Mapping[str, Any]:
    direct, indirect = edge.facts.get("direct"), str(edge.facts.get("indirect") or "")
    kinds = [{"type": "DIRECT", "subtype": direct}] if direct else []
    kinds += [{"type": "INDIRECT", "subtype": subtype} for subtype in indirect.split(",") if subtype]
    return {
        **names.of(str(edge.source.facts["dataset"]))._asdict(),
        "field": edge.source.facts["column"],
        "transformations": kinds,
    }


Pair = tuple[Node, Node, Mapping[str, Fact]]
"""Source column, target column, and what is said of their relationship."""


def pairs_in(content: Mapping[str, Any], target: str, also: Sequence[str], names: Names) -> list[Pair]:
    """The column pairs a facet of the dataset `target` tells of.

    What affects the whole dataset reaches every column the facet names, and those in `also`. Raises KeyError,
    TypeError or AttributeError when the facet is not of its schema.
    """
    told: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    fields = content["fields"]
    for column, made in fields.items():
        for source in made["inputFields"]:
            told.setdefault(_key(source, column, names), []).extend(_kinds(source, made))
    for source in content.get("dataset") or ():
        for column in dict.fromkeys((*fields, *also)):
            told.setdefault(_key(source, column, names), []).extend(_kinds(source, {}))
    return [
        (apart.column(uri, column), apart.column(target, made), _facts(kinds))
        for (uri, column, made), kinds in told.items()
    ]


def _key(source: Mapping[str, Any], column: str, names: Names) -> tuple[str, str, str]:
    told = source["namespace"], source["name"], source["field"]
    if not all(isinstance(each, str) and each for each in told):
        raise TypeError(f"{told!r} names no column")
    return names.uri(Name(*told[:2])), told[2], column


def _kinds(source: Mapping[str, Any], made: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is said of one pair; before version 1.1 of the facet it was said of the output column."""
    if kinds := source.get("transformations"):
        return list(kinds)
    older = {"IDENTITY": "IDENTITY", "MASKED": "TRANSFORMATION"}.get(made.get("transformationType") or "")
    return [{"type": "DIRECT", "subtype": older}] if older else []


def _facts(kinds: Iterable[Mapping[str, Any]]) -> Mapping[str, Fact]:
    direct = {k.get("subtype") or "TRANSFORMATION" for k in kinds if k["type"] == "DIRECT"}
    indirect = {k.get("subtype") or "CONDITIONAL" for k in kinds if k["type"] == "INDIRECT"}
    facts: dict[str, Fact] = {}
    if direct:
        facts["direct"] = next((each for each in DIRECT if each in direct), "TRANSFORMATION")
    if indirect:
        facts["indirect"] = ",".join(sorted(indirect))
    return facts
