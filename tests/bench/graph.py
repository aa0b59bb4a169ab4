"""How fast the graph answers, and whether the cost follows the answer: `python -m tests.bench.graph`.

`make bench` measures it on the embedded engine.

    --nodes 100000 --nodes 1000000   one size after the other (default: 10,000 and 100,000)
    --engine embedded|neo4j          (default: both)

A generator makes batches in groups of ten layers of ten; each has five edges, to the layer before its own.
One group has a hundred layers of a hundred (10,000 batches), and one is a chain of 1,000. What is asked is
the audit `upstream`, over Bolt, warm.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from infra.graph import BoltGraph, open_graph
from infra.local.embedded_graph import EmbeddedGraph
from infra.local.neo4j_server import Neo4j
from infra.settings import load
from lineage import graph as graphs
from lineage.audit import ask, find
from tests.bench.figure import Figure, figure, percentile
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.fixtures.graph import endpoint_of

CHUNK = 20_000
EDGES = 5
WHOLE = 20_000  # rows: more than any answer has, so that all of it is carried
ENGINES = {"embedded": EmbeddedGraph, "neo4j": Neo4j}

Edge = tuple[str, str]
Layers = Iterator[tuple[list[str], list[Edge]]]


def layered(name: str, layers: int, width: int, chance: random.Random) -> Layers:
    """Layer after layer: its keys, and edges from the layer before."""
    before: list[str] = []
    for layer in range(layers):
        keys = [f"{name}.{layer}.{place}" for place in range(width)]
        edges = [(source, key) for key in keys for source in chance.sample(before, min(EDGES, len(before)))]
        yield keys, edges
        before = keys


def generated(nodes: int) -> Layers:
    """About so many nodes, and five edges to most."""
    chance = random.Random(7)  # noqa: S311 - the same graph every time
    yield from layered("chain", 1_000, 1, chance)
    yield from layered("closure", 100, 100, chance)
    for group in range(max(1, (nodes - 11_000) // 100)):
        yield from layered(f"g{group}", 10, 10, chance)


async def build(graph: BoltGraph, nodes: int) -> tuple[int, int]:
    """Fill an empty graph; returns how many nodes and edges it has."""
    await graphs.migrate(graph)
    keys: list[str] = []
    edges: list[Edge] = []
    counts = [0, 0]

    async def flush() -> None:
        counts[0] += len(keys)
        counts[1] += len(edges)
        for start in range(0, len(keys), CHUNK):
            rows: list[Any] = keys[start : start + CHUNK]
            await graph.write([(_NODES, {"rows": rows})])
        for start in range(0, len(edges), CHUNK):
            rows = [{"a": a, "b": b} for a, b in edges[start : start + CHUNK]]
            await graph.write([(_EDGES, {"rows": rows})])
        keys.clear()
        edges.clear()

    for more_keys, more_edges in generated(nodes):
        keys += more_keys
        edges += more_edges
        if len(edges) >= CHUNK:
            await flush()
    await flush()
    return counts[0], counts[1]


_NODES = "UNWIND $rows AS key CREATE (:Batch {key: key, dataset: 'bench', rows: 1})"
_EDGES = (
    "UNWIND $rows AS row MATCH (a:Batch {key: row.a}) MATCH (b:Batch {key: row.b}) "
    "CREATE (a)-[:FEEDS {via: '', known_at: 1, valid_from: 1, created_at: 1}]->(b)"
)


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """p95 in milliseconds of `upstream`, warm, on the embedded engine."""
    async with services.graph() as graph:
        nodes, edges = await build(graph, sizes.nodes)
        for what, keys in _questions(nodes).items():
            found = [percentile((await _spent(graph, keys))[0], 0.95) for _ in range(sizes.rounds)]
            yield figure(f"audit upstream, {what}, p95, {nodes:,} nodes, {edges:,} edges", found, "ms")


def _questions(nodes: int) -> dict[str, list[str]]:
    """What is asked about."""
    groups = max(1, (nodes - 11_000) // 100)
    chance = random.Random(11)  # noqa: S311 - the same questions every time
    return {
        "depth 10": [f"g{chance.randrange(groups)}.9.{chance.randrange(10)}" for _ in range(300)],
        "closure of 10,000": [f"closure.99.{chance.randrange(100)}" for _ in range(20)],
        "chain of 1,000": ["chain.999.0"] * 20,
    }


async def _spent(graph: BoltGraph, keys: Sequence[str]) -> tuple[list[float], int]:
    """Milliseconds of each question once it is warm, and how many nodes the last answer had."""
    audit, spent, total, warm = find("upstream"), list[float](), 0, keys[:20]
    for number, key in enumerate([*warm, *keys]):
        began = time.perf_counter()
        total = (await ask(graph, audit, {"key": key}, limit=WHOLE)).total
        if number >= len(warm):
            spent.append((time.perf_counter() - began) * 1_000)
    return spent, total


async def _line(graph: BoltGraph, what: str, keys: Sequence[str]) -> str:
    spent, total = await _spent(graph, keys)
    p50, p95 = median(spent), percentile(spent, 0.95)
    return f"{what:<18} {total:>7,} nodes · p50 {p50:8.1f} ms · p95 {p95:8.1f} ms"


async def run(engine: str, nodes: int, root: Path) -> None:
    """One engine at one size, on a server of its own."""
    downloads = load().home / "downloads"
    service = EmbeddedGraph(root) if engine == "embedded" else Neo4j(root, downloads)
    address = service.start()
    try:
        async with open_graph(endpoint_of(address)) as graph:
            began = time.perf_counter()
            made = await build(graph, nodes)
            seconds = time.perf_counter() - began
            print(f"{engine}: {made[0]:,} nodes, {made[1]:,} edges, built in {seconds:.0f} s", flush=True)
            for what, keys in _questions(nodes).items():
                print(f"  {await _line(graph, what, keys)}", flush=True)
    finally:
        service.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, action="append")
    parser.add_argument("--engine", choices=ENGINES, action="append")
    given = parser.parse_args()
    for engine in given.engine or ENGINES:
        for nodes in given.nodes or (10_000, 100_000):
            with tempfile.TemporaryDirectory(prefix="bench graph ") as root:
                asyncio.run(run(engine, nodes, Path(root)))


if __name__ == "__main__":
    main()
