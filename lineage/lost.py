"""What the graph knows and the log does not: since the graph was told of it, the log was restored or cut off.

Everything in the graph bears the time of the seal that made it known, to the microsecond, and no two seals
have the same. So a time that no seal of the log has tells of a seal that is gone.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .model import micros
from .ports import Connection, Graph

AT_A_TIME = 10_000

_TIMES = "MATCH ()-[r]->() WHERE r.known_at > $since RETURN DISTINCT r.known_at AS known_at"
_KNOWN = "MATCH ()-[r]->() WHERE r.known_at = $known_at RETURN r.known_at AS known_at LIMIT 1"
_BATCHES = """
MATCH (b:Batch)-[p:PART_OF]->(d:Dataset) WHERE p.known_at > $since
RETURN b.key AS key, d.key AS dataset, b.number AS number, b.rows AS rows, b.position_id AS position_id,
    p.known_at AS known_at, p.created_at AS created_at
"""
_STAND = "SELECT batch, processed_at FROM store.ledger WHERE processed_at = ANY($1::timestamptz[])"
_NOT_SEALED = """
SELECT moment FROM unnest($1::timestamptz[]) moment
WHERE NOT EXISTS (SELECT FROM store.lineage_seals WHERE sealed_at = moment)
"""
_KEEP = """
INSERT INTO store.lost_batches (dataset, batch, known_at, rows, position_id) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""
_BY_DATASET = """
SELECT dataset, count(*) AS batches, sum(rows)::bigint AS rows,
    array_remove(array_agg(position_id), NULL) AS positions
FROM store.lost_batches WHERE known_at > $1 GROUP BY dataset ORDER BY dataset
"""
_FOUND_AT = "SELECT max(found_at) FROM store.lost_batches WHERE dataset = $1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What the graph knew of one dataset alone; `positions`: the ids of the positions that were read."""

    dataset: str
    batches: int
    rows: int | None
    positions: tuple[str, ...]


async def known_alone(connection: Connection, graph: Graph, since: datetime | None) -> frozenset[int]:
    """The times after `since` of seals that the graph was told of and the log lacks (µs since 1970)."""
    alone: set[int] = set()
    parameters = {"since": micros(since) if since else -1}
    async for times in _pages(graph, _TIMES, parameters):
        moments = [_moment(row["known_at"]) for row in times if row["known_at"] is not None]
        alone.update(micros(row["moment"]) for row in await connection.fetch(_NOT_SEALED, moments))
    return frozenset(alone)


async def holds(graph: Graph, sealed_at: datetime) -> bool:
    """Whether the graph was told of the seal of this time: then it is this log's."""
    return bool(await graph.read(_KNOWN, {"known_at": micros(sealed_at)}))


async def keep(connection: Connection, graph: Graph, since: datetime | None, alone: Collection[int]) -> int:
    """Write down the batches of these times that do not stand; returns how many there are.

    One stands of which the record has the commit and lacks the seal alone.
    """
    count = 0
    async for rows in _pages(graph, _BATCHES, {"since": micros(since) if since else -1}):
        lost = await _without_those_that_stand(connection, [row for row in rows if row["known_at"] in alone])
        values = [
            (row["dataset"], row["key"], _moment(row["known_at"]), row["rows"], row["position_id"])
            for row in lost
        ]
        await connection.executemany(_KEEP, values)
        count += len(lost)
    return count


async def _without_those_that_stand(
    connection: Connection, batches: Sequence[dict[str, Any]]
) -> Sequence[dict[str, Any]]:
    """By number and time of the commit: a number alone may be another's by now. An hour has no number."""
    moments = [_moment(row["created_at"]) for row in batches]
    rows = await connection.fetch(_STAND, moments)
    standing = {(number, micros(row["processed_at"])) for row in rows for number in (row["batch"], None)}
    return [row for row in batches if (row["number"], row["created_at"]) not in standing]


async def by_dataset(connection: Connection, since: datetime) -> Sequence[Lost]:
    """What was written down, of seals after `since`."""
    return [
        Lost(**{**row, "positions": tuple(row["positions"])})
        for row in await connection.fetch(_BY_DATASET, since)
    ]


async def found_at(connection: Connection, dataset: str) -> datetime | None:
    """When batches of a dataset (a URI) were last found to be lost; None: never."""
    found: datetime | None = await connection.fetchval(_FOUND_AT, dataset)
    return found


async def _pages(graph: Graph, query: str, parameters: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
    page: list[dict[str, Any]] = []
    async for row in graph.stream(query, parameters):
        page.append(row)
        if len(page) == AT_A_TIME:
            yield page
            page = []
    yield page


def _moment(known_at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=known_at)
