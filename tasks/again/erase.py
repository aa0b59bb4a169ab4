"""Erase: the bytes of messages, their keys and headers are deleted from raw. Their digests stay, so that
every proof still closes.

One transaction: the batch packed again without them, a row of `store.erasures` for each, a number of the
ledger and its lineage, which says which messages:

    SOURCE#BATCH ─▶ erasures#ACT
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from infra.postgres import Connection, translated
from lineage import append
from lineage.acts import ERASURES, digest_of_erasure
from lineage.errors import NotFoundError
from lineage.model import Node, RelationshipType, Run, batch_node, run_node
from tasks.load.edges import RAW
from tasks.load.raw import pack, unpack
from tasks.our_code import of_act

WAY = "erase"

_RECORD = """
INSERT INTO store.erasures (act, batch, sequence, reason, by_whom) SELECT $1, $2, unnest($3::int[]), $4, $5
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """Which messages of which batch, who says so and why."""

    batch: int
    sequences: Sequence[int]
    reason: str
    by_whom: str
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedMessage:
    """A message whose bytes are deleted: where it came from, and how many bytes it had."""

    sequence: int
    location: str | None
    bytes: int


async def erase(
    connection: Connection, erasure: Erasure, *, dry_run: bool = False
) -> tuple[ErasedMessage, ...]:
    """Erase the messages that are not erased yet; a dry run only tells which.

    Raises NotFoundError when the batch has no such message.
    """
    with translated():
        async with connection.transaction():
            query = "SELECT dataset, messages FROM store.raw_batches WHERE batch = $1 FOR UPDATE"
            held = await connection.fetchrow(query, erasure.batch)
            if held is None:
                raise NotFoundError(f"No messages of a batch {erasure.batch} are stored.")
            messages = unpack(held["messages"])
            chosen = _chosen(messages, erasure)
            if chosen and not dry_run:
                source = batch_node(held["dataset"], erasure.batch)
                await _apply(connection, erasure, source, messages, [each.sequence for each in chosen])
    return chosen


def _chosen(messages: pl.DataFrame, erasure: Erasure) -> tuple[ErasedMessage, ...]:
    chosen = []
    for sequence in sorted(set(erasure.sequences)):
        if not 0 <= sequence < messages.height:
            count = messages.height
            raise NotFoundError(f"Batch {erasure.batch} has {count} message(s): 0 to {count - 1}.")
        location, payload = messages["location"][sequence], messages["payload"][sequence]
        if payload is not None:
            chosen.append(ErasedMessage(sequence=sequence, location=location, bytes=len(payload)))
    return tuple(chosen)


async def _apply(
    connection: Connection,
    erasure: Erasure,
    source: Node,
    messages: pl.DataFrame,
    sequences: Sequence[int],
) -> None:
    gone = pl.int_range(messages.height, eager=True).is_in(sequences)
    held = [name for name in ("payload", "key", "headers") if name in messages.columns]
    kept = messages.with_columns(pl.when(~gone).then(name).alias(name) for name in held)
    await connection.execute(
        "UPDATE store.raw_batches SET messages = $2 WHERE batch = $1", erasure.batch, pack(kept)
    )
    number, at = await append.next_batch(connection)
    who = erasure.reason, erasure.by_whom
    await connection.execute(_RECORD, number, erasure.batch, list(sequences), *who)
    commit = append.LedgerEntry(
        number=number,
        dataset=RAW,
        way=WAY,
        transformation=of_act(erase, WAY),
        run_id=erasure.run.id,
        at=at,
        received_at=at,
    )
    digest = await digest_of_erasure(connection, number)
    target = batch_node(ERASURES, number, sequences=",".join(map(str, sequences)), digest=digest)
    fed = (RelationshipType.FEEDS, source, target)
    await append.write(connection, commit, run_node(erasure.run), [fed], {})
