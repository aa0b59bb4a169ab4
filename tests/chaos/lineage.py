"""Counts the rows whose way back to their source is not whole in the graph, in plain Cypher."""

import json
from collections.abc import Mapping

import neo4j

from tests.chaos.count import Found, Place

# source batch → batch of a table, each part of its dataset
CHAINS = """
MATCH (s:Batch)-[:FEEDS]->(t:Batch), (s)-[:PART_OF]->(source:Dataset), (t)-[:PART_OF]->(target:Dataset)
WHERE source.key = $dataset AND s.number = t.number
RETURN target.key AS target, t.number AS number, t.rows AS rows
"""


def unproven(graph: Mapping[str, str], found: Found) -> int:
    """How many rows are not from their bytes, or have no lineage back to their source in the graph."""
    chains = {dataset: _chains(graph, dataset) for dataset in set(found.datasets.values())}
    return found.torn + sum(
        rows
        for place, rows in found.places.items()
        if chains.get(found.datasets.get(place[1], ""), {}).get(place) != rows
    )


def _chains(graph: Mapping[str, str], dataset: str) -> dict[Place, int]:
    """How many rows the graph says each batch of a table has, where its way back to `dataset` is whole."""
    with (
        neo4j.GraphDatabase.driver(
            graph["HEADWATER_GRAPH_URI"],
            auth=(graph["HEADWATER_GRAPH_USER"], graph["HEADWATER_GRAPH_PASSWORD"]),
        ) as driver,
        driver.session(database=graph["HEADWATER_GRAPH_DATABASE"]) as session,
    ):
        found = session.run(CHAINS, dataset=dataset)
        return {(row["target"].removeprefix("postgres:"), row["number"]): row["rows"] for row in found}


def restores(proof: bytes) -> int:
    """How many restored backups `headwater prove --json` names."""
    return len(json.loads(proof)["restores"])


def differences(proof: bytes) -> int:
    """How many differences `headwater prove --json` lists."""
    said = json.loads(proof)
    return len(said["differences"]) or (0 if said["ok"] else 1)
