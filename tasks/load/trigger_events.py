"""The commit of a trigger's message, and that of the flow run which it started.

    message ─judge─▶ commit: bytes, event or rejected record, ledger, lineage ─▶ acknowledged
    waiting ─▶ Prefect ─▶ record_start: the event has its flow run, for ever

An event is waiting from its commit on until its start is recorded. Both commits may be tried again: the first
is known by the message's id, the second by the event.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid5

import polars as pl

from infra.postgres import Connection, Pool, translated
from lineage import trigger_events as events
from lineage.append import Brought, LedgerEntry, Relation, next_batch, write
from lineage.canonical import canonical_json
from lineage.digest import message_digest
from lineage.model import Node, RelationshipType, Run, Transformation, batch_node, run_node
from tasks.batch import REJECTED_SCHEMA
from tasks.load.edges import REJECTED, from_received, received_node
from tasks.load.plan import Commit, LoadPlan
from tasks.load.raw import PackedRaw, pack_raw, write_raw
from tasks.load.rejected import copy_rejected, identities, rejected_among
from tasks.load.store import WriterSession
from tasks.trigger import Asked, Message, Refused, Trigger, Verdict

LOCK: Final = 0x48_56  # "HV": the first key of the two-key advisory lock
PAGE: Final = 500  # events read at a time
_IDS: Final = UUID("5d1c0c0e-6a0b-5c57-9a3f-2f4b8a0d7e11")  # the namespace of the ids of events with a key

_KNOWN = "SELECT 1 FROM store.ledger WHERE position_id = $1"
_REPEATED = """
SELECT 1 FROM store.trigger_unacknowledged WHERE client_id = $1 AND packet_id = $2 AND digest = $3
"""
_KEEP_UNACKNOWLEDGED = """
INSERT INTO store.trigger_unacknowledged (client_id, packet_id, digest, batch) VALUES ($1, $2, $3, $4)
ON CONFLICT (client_id, packet_id) DO UPDATE SET digest = excluded.digest, batch = excluded.batch
"""
_ACKNOWLEDGED = "DELETE FROM store.trigger_unacknowledged WHERE client_id = $1"
_INSERT = """
INSERT INTO store.trigger_events (event, trigger_name, topic, key, parameters, received_at, batch)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (event) DO NOTHING RETURNING *
"""
# Of one trigger, in the order in which they came.
_WAITING = """
SELECT event, parameters, batch FROM store.trigger_events
WHERE trigger_name = $1 AND flow_run IS NULL AND batch > $2 ORDER BY batch LIMIT $3
"""
_COUNT = "SELECT count(*) FROM store.trigger_events WHERE trigger_name = $1 AND flow_run IS NULL"
_UNSTARTED = "SELECT batch FROM store.trigger_events WHERE event = $1 AND flow_run IS NULL FOR UPDATE"
_START = "UPDATE store.trigger_events SET flow_run = $2, started_by = $3 WHERE event = $1"
# What there is of each trigger; `since`: when the oldest that waits came.
_SEEN = """
SELECT trigger_name AS name, count(*) AS events, count(flow_run) AS started,
    min(received_at) FILTER (WHERE flow_run IS NULL) AS since
FROM store.trigger_events GROUP BY trigger_name ORDER BY trigger_name
"""

Outcome = Literal["event", "key", "repeat", "retained", "rejected", "rejected before", "committed before"]
"""What a message was: an event; one whose key was there; delivered a second time; kept by the broker from
before; rejected, for the first time or not; or its commit was done, and only the answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPlan:
    """A trigger as its commits see it."""

    trigger: Trigger
    transformation: Transformation
    run: Run

    @property
    def load_plan(self) -> LoadPlan:
        """The same, for what is shared with pipelines."""
        return LoadPlan(
            pipeline=self.trigger.reader,
            contracts={},
            subjects={},
            transformation=self.transformation,
            run=self.run,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An event that has no flow run yet."""

    event: UUID
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSeen:
    """What there is of a trigger; `since`: when the oldest event came that waits."""

    name: str
    events: int
    started: int
    since: datetime | None

    @property
    def waiting(self) -> int:
        return self.events - self.started


async def commit_message(
    session: WriterSession, plan: TriggerPlan, message: Message, verdict: Verdict
) -> Outcome:
    """Commit what a message is; call it again with the same message when the answer was lost."""
    connection = session.connection
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCK, plan.trigger.name)
        if await connection.fetchval(_KNOWN, _position(message)):
            return "committed before"
        number, at = await next_batch(connection)
        raw = pack_raw(message.raw)
        commit = Commit(
            connection=connection,
            number=number,
            at=at,
            plan=plan.load_plan,
            keys=session.keys,
            batch=message.raw,
            digests=raw.digests,
            raw_digest=raw.digest,
            reader=plan.trigger.reader,
        )
        return await _commit(commit, plan, message, verdict, raw)


def _position(message: Message) -> str:
    return f"event:{message.id}"


async def _commit(
    commit: Commit, plan: TriggerPlan, message: Message, verdict: Verdict, raw: PackedRaw
) -> Outcome:
    outcome, made, rejected_sum = await _settle(commit, plan.trigger, message, verdict)
    await write_raw(commit, raw)
    if message.packet_id:
        delivered = message.client_id, message.packet_id, _digest(message)
        await commit.connection.execute(_KEEP_UNACKNOWLEDGED, *delivered, commit.number)
    brought = Brought(
        raw_digest=raw.digest,
        pipeline=plan.trigger.reader,
        accepted=int(outcome == "event"),
        rejected=int(outcome == "rejected"),
        duplicates=int(outcome in ("key", "repeat", "rejected before")),
        filtered=int(outcome == "retained"),
    )
    entry = LedgerEntry(
        number=commit.number,
        dataset=message.raw.dataset,
        way=events.EVENT,
        transformation=plan.transformation,
        run_id=plan.run.id,
        at=commit.at,
        received_at=message.raw.received_at,
        position_id=_position(message),
        rejected_sum=rejected_sum,
        digest_key=commit.keys.name,
        brought=brought,
    )
    relations = _relations(commit, entry, made)
    await write(commit.connection, entry, run_node(plan.run), relations, {})
    return outcome


async def _settle(
    commit: Commit, trigger: Trigger, message: Message, verdict: Verdict
) -> tuple[Outcome, Node | None, int]:
    """What the message is, the node of what it made, and the sum of its verdict if it is rejected."""
    if message.retained and not trigger.when.retained:
        return "retained", None, 0
    if await _is_repeat(commit.connection, message):
        return "repeat", None, 0
    if isinstance(verdict, Refused):
        return await _reject(commit, verdict)
    event = _event(trigger, message, verdict)
    parameters = canonical_json(verdict.parameters)
    said = event, trigger.name, message.topic, verdict.key, parameters, message.raw.received_at
    row = await commit.connection.fetchrow(_INSERT, *said, commit.number)
    if row is None:
        return "key", None, 0
    digest = events.digest_of(dict(row))
    return "event", batch_node(events.EVENTS, commit.number, rows=1, event=str(event), digest=digest), 0


async def _is_repeat(connection: Connection, message: Message) -> bool:
    if not message.repeated:
        return False
    delivered = message.client_id, message.packet_id, _digest(message)
    return bool(await connection.fetchval(_REPEATED, *delivered))


def _digest(message: Message) -> bytes:
    return message_digest(message.topic.encode() + b"\0" + message.payload)


def _event(trigger: Trigger, message: Message, verdict: Asked) -> UUID:
    """The event's id: of one with a key the same whenever it comes, else the message's."""
    if verdict.key is None:
        return message.id
    return uuid5(_IDS, canonical_json([trigger.name, message.topic, verdict.key]))


async def _reject(commit: Commit, refused: Refused) -> tuple[Outcome, Node | None, int]:
    rejected = pl.DataFrame(
        [
            {
                "sequence": 0,
                "stage": "validate",
                "rules": list(refused.rules),
                "error_type": refused.rules[0].rpartition(".")[2],
                "message": refused.message,
            }
        ],
        schema=REJECTED_SCHEMA,
    )
    if not (await rejected_among(commit.connection, identities(commit, rejected))).is_empty():
        return "rejected before", None, 0
    rejected_sum = await copy_rejected(commit, rejected)
    return "rejected", batch_node(REJECTED, commit.number, rows=1, source=commit.batch.dataset), rejected_sum


def _relations(commit: Commit, entry: LedgerEntry, made: Node | None) -> Sequence[Relation]:
    """The source's batch → the event, or the rejected record."""
    received = received_node(commit.batch, entry.number, entry.position_id)
    return from_received(received, [(RelationshipType.FEEDS, received, made)] if made else [])


async def acknowledged(connection: Connection, client_id: str) -> None:
    """The broker has all our acknowledgements: nothing of before is delivered again."""
    await connection.execute(_ACKNOWLEDGED, client_id)


async def waiting(pool: Pool, trigger: str) -> AsyncGenerator[Waiting, None]:
    """The events of a trigger that have no flow run yet, in the order in which they came."""
    after = 0
    while True:
        with translated():
            rows = await pool.fetch(_WAITING, trigger, after, PAGE)
        for row in rows:
            after = row["batch"]
            yield Waiting(event=row["event"], parameters=json.loads(row["parameters"]))
        if len(rows) < PAGE:
            return


async def count_waiting(pool: Pool, trigger: str) -> int:
    """How many events of a trigger have no flow run yet."""
    with translated():
        return await pool.fetchval(_COUNT, trigger) or 0


async def record_start(
    connection: Connection,
    transformation: Transformation,
    event: UUID,
    flow_run: UUID,
    *,
    run: Node,
    deployment: str,
) -> bool:
    """The event has its flow run from now on; False if it has one already, recorded by whomever."""
    async with connection.transaction():
        batch = await connection.fetchval(_UNSTARTED, event)
        if batch is None:
            return False
        number, at = await next_batch(connection)
        await connection.execute(_START, event, flow_run, number)
        entry = LedgerEntry(
            number=number,
            dataset=events.EVENTS,
            way=events.START,
            transformation=transformation,
            run_id=UUID(run.key),
            at=at,
            received_at=at,
        )
        facts = {"event": str(event), "flow_run": str(flow_run)}
        started = batch_node(events.deployment(deployment), number, **facts)
        fed = RelationshipType.FEEDS, batch_node(events.EVENTS, batch), started
        await write(connection, entry, run, [fed], {})
    return True


async def triggers_seen(connection: Connection) -> tuple[TriggerSeen, ...]:
    """Every trigger that ever had an event; none where there is no table yet."""
    with translated():
        if await connection.fetchval("SELECT to_regclass('store.trigger_events')") is None:
            return ()
        return tuple(TriggerSeen(**row) for row in await connection.fetch(_SEEN))
