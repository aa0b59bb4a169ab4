"""The graph: does it answer, and what is it?"""

from typing import Final

from infra.doctor.finding import Finding, Level
from infra.endpoints import GraphEndpoint
from infra.graph import open_graph
from lineage.errors import HeadwaterError

PART: Final = "Graph"


async def check(endpoint: GraphEndpoint) -> tuple[Finding, ...]:
    """Findings about the graph."""
    try:
        async with open_graph(endpoint) as graph:
            agent = await graph.agent()
            await graph.read("RETURN 1 AS one", {})
    except HeadwaterError as error:
        fix = "Start it, or correct HEADWATER_GRAPH_URI; ingest does not need it, audits do."
        return (Finding(PART, Level.UNREACHABLE, str(error), fix),)
    tls = "TLS" if "+s" in endpoint.uri else "no TLS"
    return (Finding(PART, Level.OK, f"{agent}, {tls}"),)
