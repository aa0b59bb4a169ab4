"""The facet that holds entries of our log, as we write it; `sent.py` reads another house's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..log import Entry, canonical
from ..model import Node, NodeKind
from .facets import ENTRIES, facet
from .names import Names


def dataset_of(node: Node) -> str | None:
    """The URI of the dataset a node is, or is part of."""
    if node.kind is NodeKind.DATASET:
        return node.key
    if node.kind in (NodeKind.BATCH, NodeKind.COLUMN) and "dataset" in node.facts:
        return str(node.facts["dataset"])
    return None


def entries_facet(batch: int, entries: Sequence[Entry], names: Names) -> Mapping[str, Any]:
    """Entries as they are hashed, which store they are of, and what their datasets are called outside."""
    ends = [node for entry in entries for node in (entry.edge.source, entry.edge.target)]
    uris = sorted({uri for node in ends if (uri := dataset_of(node)) is not None})
    store = {"store": names.store} if names.store else {}
    return facet(
        ENTRIES,
        **store,
        batch=batch,
        datasets={uri: names.of(uri)._asdict() for uri in uris},
        entries=[json.loads(canonical(e.writer, e.number, e.batch, e.edge)) for e in entries],
    )
