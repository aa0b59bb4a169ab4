"""The relay: relationships a second, new and when nothing changes, against bare UNWIND + MERGE."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

from infra.postgres import Connection, connect
from lineage import relay
from lineage.log import open_writer
from lineage.model import Edge, RelationshipType, batch_node
from lineage.ports import Graph
from tests.bench.figure import Figure, figure
from tests.bench.services import Services
from tests.bench.sizes import Sizes

SOURCE, STORED, REJECTED = "mqtt:sensors/+/readings", "postgres:sensor_readings", "postgres:rejected"
PER_COMMIT = 2  # entries: source → stored, source → rejected
AT_ONCE = 500  # commits
CHUNK = 2_000  # rows of the reference's UNWIND
AGAINST = "UNWIND 2,000 + MERGE by a bare driver"
_NODES = "UNWIND $rows AS row MERGE (:Batch {key: row.source}) MERGE (:Batch {key: row.target})"
_EDGES = (
    "UNWIND $rows AS row MATCH (a:Batch {key: row.source}) MATCH (b:Batch {key: row.target}) "
    "MERGE (a)-[r:FEEDS {via: 'bare'}]->(b) SET r.created_at = row.at"
)


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """New ones, then the same again after the cursor was forgotten."""
    new, again, bare, bare_again = list[float](), list[float](), list[float](), list[float]()
    for _ in range(sizes.rounds):
        async with services.database() as dsn:
            connection = await connect(dsn, application="bench", statement_timeout_ms=0)
            await _fill(connection, sizes.entries)
            async with services.graph() as graph:
                new.append(await _carried(connection, graph))
                await connection.execute("DELETE FROM store.relay_cursors")
                again.append(await _carried(connection, graph))
            async with services.graph() as graph:
                bare.append(await _merged(graph, sizes.entries))
                bare_again.append(await _merged(graph, sizes.entries))
            await connection.close()
    unit = "relationships/s"
    yield figure("relay new", new, unit, reference=bare, against=AGAINST)
    yield figure("relay nothing new", again, unit, reference=bare_again, against=AGAINST)


async def _fill(connection: Connection, entries: int) -> None:
    """A log as a listener writes it: two entries per commit of one run."""
    writer, run = await open_writer(connection, "bench"), uuid4()
    now = datetime.now(UTC)
    for first in range(1, entries // PER_COMMIT + 1, AT_ONCE):
        async with connection.transaction():
            for batch in range(first, min(first + AT_ONCE, entries // PER_COMMIT + 1)):
                source, *made = [batch_node(each, batch, rows=1) for each in (SOURCE, STORED, REJECTED)]
                edges = [
                    Edge(
                        relationship_type=RelationshipType.FEEDS,
                        source=source,
                        target=target,
                        created_at=now,
                        transformation_id="sensors@bench",
                        run_id=run,
                    )
                    for target in made
                ]
                writer.committed(await writer.append(connection, batch, edges))


async def _carried(connection: Connection, graph: Graph) -> float:
    began = time.perf_counter()
    await relay.catch_up(connection, graph)
    seconds = time.perf_counter() - began
    rows = await graph.read("MATCH ()-[r]->() RETURN count(r) AS relationships", {})
    return float(rows[0]["relationships"]) / seconds


async def _merged(graph: Graph, count: int) -> float:
    rows = [{"source": f"a{n}", "target": f"b{n}", "at": n} for n in range(count)]
    began = time.perf_counter()
    for start in range(0, count, CHUNK):
        chunk = {"rows": rows[start : start + CHUNK]}
        await graph.write([(_NODES, chunk), (_EDGES, chunk)])
    return count / (time.perf_counter() - began)
