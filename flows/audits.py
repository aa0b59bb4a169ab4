"""Audits, composed: a named question to the graph of the settings."""

from collections.abc import Mapping

from flows import stores
from infra.settings import Settings
from lineage import audit as audits


async def ask(settings: Settings, name: str, given: Mapping[str, str], limit: int) -> audits.Answer:
    """The answer of a named audit."""
    audit = audits.find(name)
    async with stores.open_graph(settings) as graph:
        return await audits.ask(graph, audit, given, limit=limit)
