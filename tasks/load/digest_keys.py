"""Which keys rows were digested with, by their names; the keys themselves are not in Postgres."""

from infra.postgres import Connection, translated
from lineage.keys import Key

_STANDS = "SELECT to_regclass('store.digest_keys') IS NOT NULL"
_KNOWN = "SELECT id FROM store.digest_keys ORDER BY first_used"
_REMEMBER = "INSERT INTO store.digest_keys (id) VALUES ($1) ON CONFLICT DO NOTHING"
_ALONE = "LOCK TABLE store.digest_keys IN SHARE ROW EXCLUSIVE MODE"


async def known_keys(connection: Connection, *, alone: bool = False) -> list[str]:
    """The names of the keys, the oldest first; `alone`: nobody else adds one until the transaction ends."""
    with translated():
        if alone:
            await connection.execute(_ALONE)
        elif not await connection.fetchval(_STANDS):  # no process of this version has prepared the store yet
            return []
        return [row["id"] for row in await connection.fetch(_KNOWN)]


async def remember_key(connection: Connection, key: Key) -> None:
    """Say that a host digests with this key."""
    with translated():
        await connection.execute(_REMEMBER, key.id)
