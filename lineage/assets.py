"""Assets that an orchestrator materializes, as commits of the record: each event is taken exactly once.

Whoever can send an event can say anything in it, so what is taken can only add (see `apart.py`): an asset,
its run and its code are in the orchestrator's namespace. A table of ours that was read is told as a dataset;
one that a flow says it made is not, as no batch of ours is made so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .append import LedgerEntry, Relation, next_batch, write
from .model import (
    Fact,
    Node,
    NodeKind,
    RelationshipType,
    Run,
    Transformation,
    batch_node,
    dataset_node,
    run_node,
)
from .ports import Connection

WAY = "asset"
"""How the ledger calls these commits."""
LOCK = 0x48_41  # "HA": the first key of the two-key advisory lock

_LAST = """
SELECT batch FROM store.ledger WHERE way = 'asset' AND run_id = $1 AND dataset = $2
ORDER BY batch DESC LIMIT 1
"""
_MOVE = """
INSERT INTO store.asset_cursors (source, occurred) VALUES ($1, $2)
ON CONFLICT (source) DO UPDATE SET occurred = greatest(asset_cursors.occurred, excluded.occurred)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialization:
    """One event: a run made `asset` from the assets `sources`; `id` is the event's, from its source.

    `ours` are datasets of ours that it was made from, by our names.
    """

    id: str
    asset: str
    sources: tuple[str, ...]
    ours: tuple[str, ...] = ()
    occurred: datetime
    run: Run
    transformation: Transformation
    facts: Mapping[str, Fact] = field(default_factory=dict)


async def take(connection: Connection, event: Materialization) -> bool:
    """Record a materialization; False if it was recorded before, by whomever."""
    position_id = f"asset:{event.id}"
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCK, position_id)
        if await connection.fetchval("SELECT 1 FROM store.ledger WHERE position_id = $1", position_id):
            return False
        number, at = await next_batch(connection)
        commit = LedgerEntry(
            number=number,
            dataset=event.asset,
            way=WAY,
            transformation=event.transformation,
            run_id=event.run.id,
            at=at,
            received_at=event.occurred,
            position_id=position_id,
        )
        await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCK, str(event.run.id))
        run = await _run(connection, event.run)
        await write(connection, commit, run, await _relations(connection, commit.number, run, event), {})
    return True


async def _run(connection: Connection, run: Run) -> Node:
    """The run with its facts the first time; a name may be changed later, and facts never are."""
    known = await connection.fetchval(
        "SELECT 1 FROM store.ledger WHERE way = 'asset' AND run_id = $1 LIMIT 1", run.id
    )
    return Node(NodeKind.RUN, str(run.id)) if known else run_node(run)


async def _relations(
    connection: Connection, number: int, run: Node, event: Materialization
) -> list[Relation]:
    made = batch_node(event.asset, number, **event.facts)
    relations: list[Relation] = [(RelationshipType.WROTE, run, made)]
    for source in event.sources:
        # What the same run made before is known to be what it read; of the rest we know the dataset.
        last = await connection.fetchval(_LAST, event.run.id, source)
        if last is None and source == event.asset:
            continue
        taken = batch_node(source, number, read=True) if last is None else batch_node(source, last)
        relations.append((RelationshipType.FEEDS, taken, made))
    for dataset in event.ours:
        relations.append((RelationshipType.FEEDS, dataset_node(dataset), dataset_node(event.asset)))
    return relations


async def cursor(connection: Connection, source: str) -> datetime | None:
    """How far the events of a source were taken; None if never."""
    moment: datetime | None = await connection.fetchval(
        "SELECT occurred FROM store.asset_cursors WHERE source = $1", source
    )
    return moment


async def move(connection: Connection, source: str, occurred: datetime) -> None:
    """Everything of the source up to `occurred` is taken, as far as was to be seen."""
    await connection.execute(_MOVE, source, occurred)
