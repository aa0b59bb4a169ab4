"""What changes between two states of the column lineage: two times, or two versions of a transformation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from . import query_files
from .audit import END_OF_TIME, ask, find
from .model import Edge, NodeKind, micros
from .ports import Graph

_IN_FORCE = query_files.read(__package__, "columns_in_force.cypher")
_OF_VERSION = """
MATCH (s)-[d:DERIVES {via: $version}]->(t:Column)
WHERE NOT s:Transformation
RETURN s.key AS source, t.key AS target, d.direct AS direct, d.indirect AS indirect, d.opaque AS opaque
"""
_DATASETS = "UNWIND $keys AS key MATCH (c:Column {key: key}) RETURN key, c.dataset AS dataset"


class Pair(NamedTuple):
    """The keys of a source and of a target column."""

    source: str
    target: str


class How(NamedTuple):
    """How the target depends on the source, as a DERIVES relationship says."""

    direct: str
    indirect: str
    opaque: bool


Columns = Mapping[Pair, How]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the second state has otherwise than the first."""

    added: tuple[Pair, ...]
    removed: tuple[Pair, ...]
    changed: tuple[Pair, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that are made otherwise."""
        return tuple(sorted({pair.target for pair in (*self.added, *self.removed, *self.changed)}))


def compare(before: Columns, after: Columns) -> Changes:
    """The dependencies that only one of them has, and those that both have in another way."""
    both = before.keys() & after.keys()
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(pair for pair in both if before[pair] != after[pair])),
    )


async def columns_at(graph: Graph, at: datetime | None = None, name: str | None = None) -> Columns:
    """The column lineage in force at a time, now if none is given; `name`: by this transformation alone."""
    values = {"at": micros(at) if at else END_OF_TIME, "prefix": f"{name}@" if name else ""}
    return _columns(await graph.read(_IN_FORCE, values))


async def columns_of(graph: Graph, version: str) -> Columns:
    """The column lineage of one version of a transformation (`name@version`)."""
    return _columns(await graph.read(_OF_VERSION, {"version": version}))


async def sources(graph: Graph, columns: Columns) -> dict[str, str]:
    """Key of a source → its dataset; one that is a dataset itself is its own."""
    keys = sorted({pair.source for pair in columns})
    rows = await graph.read(_DATASETS, {"keys": keys})
    return {key: key for key in keys} | {str(row["key"]): str(row["dataset"]) for row in rows}


def columns_from(edges: Iterable[Edge]) -> Columns:
    """The column lineage that DERIVES edges say, before any of it is recorded; constants are left out."""
    return {
        Pair(edge.source.key, edge.target.key): _how(edge.facts)
        for edge in edges
        if edge.source.kind is not NodeKind.TRANSFORMATION
    }


def _columns(rows: Iterable[Mapping[str, object]]) -> Columns:
    """One entry for each pair, however many transformations say it: two pipelines may fill one table."""
    found: dict[Pair, How] = {}
    for row in rows:
        pair, how = Pair(str(row["source"]), str(row["target"])), _how(row)
        found[pair] = _either(found[pair], how) if pair in found else how
    return found


def _either(one: How, other: How) -> How:
    direct, indirect = (
        ",".join(sorted({*first.split(","), *second.split(",")} - {""}))
        for first, second in ((one.direct, other.direct), (one.indirect, other.indirect))
    )
    return How(direct, indirect, one.opaque or other.opaque)


def _how(facts: Mapping[str, object]) -> How:
    return How(str(facts.get("direct") or ""), str(facts.get("indirect") or ""), bool(facts.get("opaque")))


async def reached(graph: Graph, targets: Iterable[str]) -> tuple[str, ...]:
    """The columns that come from these, directly or not: what a change of them reaches."""
    found: set[str] = set()
    audit = find("column-downstream")
    for column in targets:
        rows = await graph.read("MATCH (n:Column {key: $key}) RETURN n.key AS key", {"key": column})
        if rows:
            found.update(row[0] for row in (await ask(graph, audit, {"column": column})).rows)
    return tuple(sorted(found))
