"""The facets we write: their names and schemas, and one of our own that holds what no other can.

`headwater_lineage`, a facet of a run, holds the entries of the log as they are hashed, so that reading an
event of ours gives back exactly what it was made from; who does not know it loses only that.
"""

from collections.abc import Mapping
from typing import Any

PRODUCER = "urn:headwater:lineage"
ENTRIES = "headwater_lineage"
EVENT_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"

_SPEC = "https://openlineage.io/spec/facets"
SCHEMAS = {
    "columnLineage": f"{_SPEC}/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet",
    "jobType": f"{_SPEC}/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
    "outputStatistics": (
        f"{_SPEC}/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet"
    ),
    "parent": f"{_SPEC}/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
    "schema": f"{_SPEC}/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
    "version": f"{_SPEC}/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    ENTRIES: "urn:headwater:facets:lineage:1",
}


def facet(name: str, **content: Any) -> Mapping[str, Any]:
    """One facet under its name, ready to be merged with others."""
    return {name: {"_producer": PRODUCER, "_schemaURL": SCHEMAS[name], **content}}
