"""From which seal on a proof reads: what was proved before, and who says so."""

from collections.abc import Sequence
from datetime import datetime

from ..ports import Connection
from ..seal import Anchor

_PROVED = "SELECT coalesce(max(seal), 0) FROM store.proofs WHERE differences = 0"
_VOUCHED = """
SELECT max(seal) FROM unnest($1::bigint[], $2::bytea[]) a(seal, hash)
JOIN store.lineage_seals USING (seal, hash)"""
_SEALED_BEFORE = "SELECT coalesce(max(seal), 0) FROM store.lineage_seals WHERE sealed_at < $1"


async def last_proved(connection: Connection) -> int:
    """The last seal that a proof without a difference read; 0 before the first such proof.

    Whoever has every right on Postgres can forge it, but not `last_vouched`.
    """
    return await connection.fetchval(_PROVED) or 0


async def last_vouched(connection: Connection, anchors: Sequence[Anchor]) -> int:
    """The last seal that a proved anchor vouches for and that still has its hash; 0 if there is none."""
    proved = {anchor.seal: anchor.hash for anchor in anchors if anchor.proved}
    return await connection.fetchval(_VOUCHED, list(proved), list(proved.values())) or 0


async def sealed_before(connection: Connection, moment: datetime) -> int:
    """The last seal made before a moment, 0 if there is none."""
    return await connection.fetchval(_SEALED_BEFORE, moment) or 0
