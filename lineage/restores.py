"""Restores: a person accepts that the end of the record is gone, because a backup was restored.

    anchors ──▶ seals that are gone ──a person says why──▶ an act in the log, and a line among the anchors

Neither is ever taken back: the anchors keep the lines of what was lost beside the one that accepts it, and
every proof names each restore. What was cut off by a forger can be accepted too, but not in silence.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from . import append
from .model import RelationshipType, Run, Transformation, batch_node, run_node
from .ports import Connection
from .seal import Anchor

WAY = "restore"
"""How the ledger calls these commits."""
URI = "postgres:restores"
ANCHORS = "anchors:seals"
TRANSFORMATION = Transformation(name="restore", version="1")
ACCEPT = "where a backup was restored, `headwater restored --reason TEXT` accepts it"

_STANDS = """
SELECT a.seal, s.seal IS NOT NULL AS stands FROM unnest($1::bigint[], $2::bytea[]) a(seal, hash)
LEFT JOIN store.lineage_seals s ON (s.seal, s.hash) = (a.seal, a.hash)
"""
_ACTS = """
SELECT l.batch, l.target_facts FROM store.ledger g JOIN store.lineage_log l
ON l.writer = g.writer AND l.number BETWEEN g.first_entry AND g.last_entry
WHERE g.way = 'restore' AND l.relationship_type = 'FEEDS' ORDER BY l.batch
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Seals that anchors vouch for and that do not stand: after `kept`, up to `lost` at least."""

    kept: int  # the last anchored one that stands, before the first that does not; 0: none
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """A gap that was accepted. `seal` and `hash`: the newest seal then, which is anchored by it."""

    gap: Gap
    seal: int
    hash: bytes
    act: int  # the batch that says so in the log
    reason: str
    by_whom: str
    at: str
    undone: bool = False  # by a later restore, to before it: its act may be gone

    @property
    def anchor(self) -> Anchor:
        return Anchor(seal=self.seal, hash=self.hash, at=self.at)

    @property
    def sentence(self) -> str:
        """What was lost, and who accepted it."""
        return (
            f"restored: seals after {self.gap.kept} up to {self.gap.lost} are gone, accepted {self.at} "
            f"by {self.by_whom}: {self.reason} (batch {self.act})"
        )


async def gap(connection: Connection, anchors: Sequence[Anchor]) -> Gap | None:
    """What the anchors vouch for and is not there; None if all of it is."""
    hashes = [anchor.seal for anchor in anchors], [anchor.hash for anchor in anchors]
    rows = await connection.fetch(_STANDS, *hashes)
    gone = [row["seal"] for row in rows if not row["stands"]]
    if not gone:
        return None
    standing = [row["seal"] for row in rows if row["stands"] and row["seal"] < min(gone)]
    return Gap(kept=max(standing, default=0), lost=max(gone))


async def accept(connection: Connection, what: Gap, *, reason: str, by_whom: str, run: Run) -> int:
    """Say in the log that a gap is accepted; returns the act's number."""
    async with connection.transaction():
        number, at = await append.next_batch(connection)
        commit = append.LedgerEntry(
            number=number,
            dataset=URI,
            way=WAY,
            transformation=TRANSFORMATION,
            run_id=run.id,
            at=at,
            received_at=at,
        )
        said = batch_node(URI, number, kept=what.kept, lost=what.lost, reason=reason, by_whom=by_whom)
        fed = (RelationshipType.FEEDS, batch_node(ANCHORS, number), said)
        await append.write(connection, commit, run_node(run), [fed], {})
    return number


async def acts(connection: Connection) -> dict[int, tuple[Gap, str, str]]:
    """What the log says was accepted: the act's number → gap, reason, by whom."""
    found = {}
    for row in await connection.fetch(_ACTS):
        facts = json.loads(row["target_facts"])
        said = Gap(kept=facts["kept"], lost=facts["lost"])
        found[row["batch"]] = (said, facts["reason"], facts["by_whom"])
    return found


async def check(connection: Connection, accepted: Sequence[Restore]) -> list[str]:
    """A sentence for each restore that the log says and the anchors do not, or the other way round."""
    in_log = await acts(connection)
    among_anchors = [(restore.gap, restore.reason, restore.by_whom) for restore in accepted]
    found = [
        f"restores: batch {number} accepts that seals after {said[0].kept} are gone, and no anchor says so"
        for number, said in in_log.items()
        if said not in among_anchors
    ]
    return found + [
        f"restores: the anchors accept that seals after {restore.gap.kept} are gone, and the log does not"
        for restore, said in zip(accepted, among_anchors, strict=True)
        if not restore.undone and said not in in_log.values()
    ]
