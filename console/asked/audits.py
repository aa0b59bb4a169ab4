"""Audits, composed: a named question to the graph of the settings."""

from collections.abc import Mapping
from datetime import datetime

from flows.process import stores
from infra.settings import Settings
from lineage import audit as audits
from lineage import query as queries


async def ask(
    settings: Settings,
    name: str,
    given: Mapping[str, str],
    limit: int,
    valid_at: datetime | None = None,
    known_at: datetime | None = None,
) -> queries.Answer:
    """The answer of a named audit, as of a time if one is given."""
    audit = audits.find(name)
    async with stores.open_graph(settings) as graph:
        return await audits.ask(graph, audit, given, limit=limit, valid_at=valid_at, known_at=known_at)


async def query(
    settings: Settings, text: str, given: Mapping[str, str], limit: int, seconds: float
) -> queries.Answer:
    """The answer of a person's own read-only Cypher; it may take so many `seconds`."""
    async with stores.open_graph(settings) as graph:
        return await queries.run(graph, "The query", text, given, limit=limit, seconds=seconds)
