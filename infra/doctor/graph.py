"""The graph: does it answer, what is it, and would it hold a node twice?"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from infra.doctor.finding import Finding, Level, away, readable
from infra.endpoints import GraphEndpoint
from infra.graph import open_graph
from lineage import graph as graphs
from lineage.errors import HeadwaterError

PART: Final = "Graph"


async def check(endpoint: GraphEndpoint) -> tuple[Finding, ...]:
    """Findings about the graph."""
    try:
        async with open_graph(endpoint) as graph:
            agent = await graph.agent()
            missing = await graphs.missing_constraints(graph)
    except HeadwaterError as error:
        fix = "Start it, or correct HEADWATER_GRAPH_URI; ingest does not need it, audits do."
        return (away(PART, error, fix),)
    return tuple(_judged(endpoint, agent, missing))


def _judged(endpoint: GraphEndpoint, agent: str, missing: list[str]) -> Iterator[Finding]:
    parts = urlsplit(endpoint.uri)
    tls = parts.scheme.endswith(("+s", "+ssc"))
    yield Finding(PART, Level.OK, f"{agent}, {'TLS' if tls else 'no TLS'}")
    yield from readable(PART, parts.hostname, tls, "Write HEADWATER_GRAPH_URI with a scheme that ends in +s.")
    if missing:
        sentence = f"constraints are missing, so a node may be there twice: {', '.join(missing)}"
        yield Finding(PART, Level.PROBLEM, sentence, "Start `headwater relay`, which makes them.")
