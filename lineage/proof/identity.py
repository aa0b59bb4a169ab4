"""Which store this is: its identity against the seals, and against the anchors of other stores in one file.

Anchors are found by the identity. Were it changed, those of before would be another store's, and vouch for
nothing.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from .. import query_files
from ..ports import Connection
from ..seal import Stranger, database_of, identity

_ONE = "SELECT count(*) FROM store.identity"
# Seals of before this was said name none; from the first one on that does, every one does.
_UNLIKE = query_files.read(__package__, "seals_of_others.sql")
_SAME = """
SELECT a.place, a.seal FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY a(seal, hash, place)
JOIN store.lineage_seals USING (seal, hash) ORDER BY a.seal DESC LIMIT 1
"""
_BEGAN = query_files.read(__package__, "began.sql")


async def check_identity(
    connection: Connection, after: int, strangers: Sequence[Stranger]
) -> AsyncIterator[str]:
    """The identity is one, that of the seals from `after` on, and no other store of the file was this one."""
    if await connection.fetchval(_ONE) != 1:
        yield "identity: the store has not exactly one"
    row = await connection.fetchrow(_UNLIKE, after)
    if row["seals"]:
        yield (
            f"identity: {row['seals']} seal(s), {row['first']} to {row['last']}, were made of another store "
            "than this one says it is"
        )
    ours = await identity(connection)
    named = [each for each in strangers if database_of(each.store) == database_of(ours)]
    async for difference in _check_strangers(connection, ours, named):
        yield difference


async def _check_strangers(
    connection: Connection, ours: str, strangers: Sequence[Stranger]
) -> AsyncIterator[str]:
    """Stores of the same database: their seals are not ours, and ours are not older than their anchors."""
    anchors = [each.anchor for each in strangers]
    same = await connection.fetchrow(_SAME, [each.seal for each in anchors], [each.hash for each in anchors])
    if same is not None:
        other = strangers[same["place"] - 1].store
        yield f"identity: seal {same['seal']} was anchored as one of store {other}, and this is {ours}"
        return
    began: datetime | None = await connection.fetchval(_BEGAN)
    newest = max((each for each in strangers if each.before), key=lambda each: each.at, default=None)
    if newest and began and began <= newest.at:
        yield (
            f"identity: store {newest.store} was anchored, and {ours} stands in its place with seals that "
            "are older; if both are yours, give each its own HEADWATER_ANCHOR_FILE"
        )
