"""The proof over everything stored, and audits: what is asked of the record and the graph, composed."""

from collections.abc import Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from flows import stores
from infra.metrics import Metrics
from infra.postgres import connect, translated
from infra.settings import Settings
from lineage import audit as audits
from lineage import graph as graphs
from lineage.proof import Progress, Proof
from lineage.proof import prove as prove_stored
from tasks.verify import stored_shapes


async def prove(settings: Settings, progress: Progress) -> Proof:
    """Check Postgres against the lineage log against the graph; the outcome is counted too."""
    connection = await connect(stores.postgres_dsn(settings), application="prove", statement_timeout_ms=0)
    try:
        async with stores.open_graph(settings) as graph:
            await graphs.migrate(graph)
            with translated():
                proof = await prove_stored(connection, graph, await stored_shapes(connection), progress)
    finally:
        connection.terminate()
    Metrics(CollectorRegistry()).proved(proof.total, datetime.now(UTC))
    return proof


async def ask(settings: Settings, name: str, given: Mapping[str, str], limit: int) -> audits.Answer:
    """The answer of a named audit."""
    audit = audits.find(name)
    async with stores.open_graph(settings) as graph:
        return await audits.ask(graph, audit, given, limit=limit)
