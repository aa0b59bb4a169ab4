"""Audits of a large graph: p95 of those that ask about one thing, the time of those that ask about all."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from time import perf_counter
from uuid import uuid4

from lineage import graph as graphs
from lineage.audit import Audit, Value, ask, audits
from lineage.log import Entry
from lineage.model import Edge, Node, RelationshipType, batch_node, micros, subject_node
from lineage.ports import Graph
from lineage.projection import project
from tests.bench.figure import Figure, figure, percentile
from tests.bench.services import Services
from tests.bench.sizes import Sizes

DATASETS = 50
PARENTS = 4  # batches that a batch is made of, so five relationships with the one to its dataset
AT_ONCE = 2_000  # batches of a write
ASKED = 20  # times a round
DEVICE = "device-0001"


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """Milliseconds; every audit is asked about things drawn at random."""
    batches = sizes.edges // (PARENTS + 1)
    async with services.graph() as graph:
        await _fill(graph, batches)
        for audit in audits():
            if any(parameter.type == "node" and parameter.name == "column" for parameter in audit.parameters):
                continue  # columns grow with the code, not with the data
            found = [await _p95(graph, audit, batches) for _ in range(sizes.rounds)]
            title = f"audit {audit.name}, p95, {batches:,} batches, {sizes.edges:,} relationships"
            yield figure(title, found, "ms")


async def _fill(graph: Graph, batches: int) -> None:
    """Batches of DATASETS datasets in layers, each made of four of the layers before it."""
    chosen, now, run = random.Random(7), datetime.now(UTC), uuid4()  # noqa: S311 - no secret
    device = subject_node("device", DEVICE)
    for first in range(0, batches, AT_ONCE):
        edges = [
            Edge(
                relationship_type=RelationshipType.FEEDS,
                source=_batch(source),
                target=_batch(number),
                created_at=now,
                transformation_id="readings@bench",
                run_id=run,
            )
            for number in range(max(1, first), min(batches, first + AT_ONCE))
            for source in {_source(number, chosen) for _ in range(PARENTS)}
        ]
        entries = [Entry(1, number, 1, edge, b"") for number, edge in enumerate(edges)]
        await graphs.write(graph, project(entries, micros(now)))
    about = Edge(
        relationship_type=RelationshipType.ABOUT,
        source=device,
        target=_batch(batches - 1),
        created_at=now,
        transformation_id=None,
        run_id=None,
    )
    await graphs.write(graph, project([Entry(1, batches, 1, about, b"")], micros(now)))


def _batch(number: int) -> Node:
    return batch_node(f"postgres:table_{number % DATASETS}", number, rows=1_000)


def _source(number: int, chosen: random.Random) -> int:
    """A batch of the same hundred, in the layer before: so a closure is as deep as there are layers."""
    layer = number % DATASETS
    hundred = number - layer
    return max(0, hundred + chosen.randrange(max(1, layer))) if layer else max(0, number - DATASETS)


async def _p95(graph: Graph, audit: Audit, batches: int) -> float:
    taken = []
    for _ in range(ASKED if audit.parameters else 1):
        given = {parameter.name: _value(parameter.name, batches) for parameter in audit.parameters}
        start = perf_counter()
        await ask(graph, audit, given)
        taken.append((perf_counter() - start) * 1000)
    return percentile(taken, 0.95)


def _value(name: str, batches: int) -> Value:
    number = random.randrange(1, batches)  # noqa: S311 - no secret
    match name:
        case "key":
            return _batch(number).key
        case "source" | "target":
            return f"postgres:table_{number % DATASETS}"
        case "device" | "experiment":
            return DEVICE
        case "least":
            return 2
        case "longest":
            return 4
        case _:
            return micros(datetime.now(UTC))
