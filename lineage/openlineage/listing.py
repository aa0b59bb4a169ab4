"""The imported events as people ask for them: those with something the graph does not show."""

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ..ports import Connection
from .importer import KeptFacet

_WHICH = "FROM store.imported_events WHERE $1 OR error IS NOT NULL OR kept_facets::text <> '[]'"
_LIST = (
    "SELECT encode(hash, 'hex') AS hash, batch, imported_at, happened_at, producer, job, state, run_id, "
    f"kept_facets, error {_WHICH} ORDER BY batch DESC, place DESC LIMIT $2"
)
_COUNT = f"SELECT count(*) {_WHICH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEvent:
    """One imported event; of one that could not be read, the error alone."""

    hash: str
    batch: int
    imported_at: datetime
    happened_at: datetime | None
    producer: str | None
    job: str | None
    state: str | None
    run_id: UUID | None
    facets: tuple[KeptFacet, ...]
    error: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """Chosen events, the newest first, and how many there are."""

    events: tuple[ImportedEvent, ...]
    total: int


async def list_events(connection: Connection, limit: int, *, every: bool = False) -> Listed:
    """The events with facets the graph does not show, and those that could not be read; or `every` one."""
    events = []
    for row in await connection.fetch(_LIST, every, limit):
        told = dict(row)
        facets = tuple(KeptFacet(**facet) for facet in json.loads(told.pop("kept_facets")))
        events.append(ImportedEvent(**told, facets=facets))
    return Listed(tuple(events), await connection.fetchval(_COUNT, every))
