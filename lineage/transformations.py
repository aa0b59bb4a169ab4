"""A transformation is introduced to the record once: what its columns come from, and what it supersedes.

    Column ─DERIVES─▶ Column        one edge per pair, of this version of the transformation
    new ─SUPERSEDES─▶ old           from this moment on the new one is in force

Both are written by the first commit that uses the version, in its transaction. A version supersedes the one
of the same name; the first of a name may supersede one of another, which was its own before it was renamed.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .columns import ColumnEdge, Kind
from .model import Edge, Fact, Node, RelationshipType, Transformation, column_node, dataset_node
from .model import transformation_node as node_of
from .ports import Connection

_KNOWN = """
INSERT INTO store.transformations (transformation_id, source, target, name, batch)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING clock_timestamp()
"""
_IN_FORCE = """
SELECT transformation_id FROM store.reigns WHERE name = $1 ORDER BY reign DESC LIMIT 1
"""
_REIGN = """
INSERT INTO store.reigns (name, transformation_id, batch) VALUES ($1, $2, $3)
RETURNING reign, clock_timestamp()
"""


Former = Callable[[Connection], Awaitable[str | None]]
"""Gives the transformation (`name@version`) that one of a new name goes on from, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """A version of a transformation, and what the columns of each dataset (URI) come from that it writes.

    `source`: what it reads, where one version reads from more than one dataset (a robot each), else "".
    `former` is asked where no version of this name was ever in force.
    """

    transformation: Transformation
    source: str
    columns: Mapping[str, Sequence[ColumnEdge]]
    former: Former | None = None


class _Pair(NamedTuple):
    source: tuple[str, str | None]
    target: str


async def introduce(
    connection: Connection, what: Introduction, *, batch: int, run_id: UUID | None
) -> list[Edge]:
    """What the record does not say yet of this transformation; in the caller's transaction.

    Its times are the database's, the one clock that all writers share.
    """
    transformation = what.transformation
    edges: list[Edge] = []
    for target, columns in sorted(what.columns.items()):
        if not columns:  # nothing to say, and so no row that the log does not tell of
            continue
        known = transformation.id, what.source, target, transformation.name, batch
        now: datetime | None = await connection.fetchval(_KNOWN, *known)
        if now is not None:
            edges += derivations(transformation, target, columns, run_id=run_id, now=now)
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"reign {transformation.name}")
    before = await connection.fetchval(_IN_FORCE, transformation.name)
    if before == transformation.id:
        return edges
    if before is None and what.former is not None:
        before = await what.former(connection)
    reign, since = await connection.fetchrow(_REIGN, transformation.name, transformation.id, batch)
    if before is not None:
        edges.append(
            Edge(
                relationship_type=RelationshipType.SUPERSEDES,
                source=node_of(transformation),
                target=node_of(_of_id(before)),
                created_at=since,
                transformation_id=transformation.id,
                run_id=run_id,
                facts={"reign": reign},  # what orders them: the clocks of two hosts may be a day apart
            )
        )
    return edges


def _of_id(transformation_id: str) -> Transformation:
    name, _, version = transformation_id.rpartition("@")
    return Transformation(name=name, version=version)


def derivations(
    transformation: Transformation,
    target: str,
    columns: Iterable[ColumnEdge],
    *,
    run_id: UUID | None,
    now: datetime,
) -> list[Edge]:
    """One entry for each pair of columns, whatever the number of ways in which one depends on the other."""
    pairs: dict[_Pair, list[ColumnEdge]] = defaultdict(list)
    for column in columns:
        pairs[_Pair((column.source_dataset, column.source_column), column.target_column)].append(column)
    return [
        Edge(
            relationship_type=RelationshipType.DERIVES,
            source=_source(transformation, *pair.source),
            target=column_node(target, pair.target),
            created_at=now,
            transformation_id=transformation.id,
            run_id=run_id,
            facts=_facts(ways),
        )
        for pair, ways in sorted(pairs.items(), key=lambda item: str(item[0]))
    ]


def _source(transformation: Transformation, dataset: str, column: str | None) -> Node:
    if column is not None:
        return column_node(dataset, column)
    return dataset_node(dataset) if dataset else node_of(transformation)


def _facts(ways: Sequence[ColumnEdge]) -> dict[str, Fact]:
    """`direct` and `indirect`: the subtypes, sorted; `opaque`: the code hides how, so it is assumed."""
    facts: dict[str, Fact] = {}
    for kind in Kind:
        if subtypes := sorted({str(way.subtype) for way in ways if way.kind is kind}):
            facts[kind.value.lower()] = ",".join(subtypes)
    if any(way.opaque for way in ways):
        facts["opaque"] = True
    return facts
