"""A name that one process at a time has: a lock that Postgres lets go of when its holder is gone."""

from infra.postgres import Connection, connect, translated

# The lock ends with the connection: nothing may end it for being idle, and a dead machine's is found out.
_PREPARE = """
SET idle_session_timeout = 0; SET tcp_keepalives_idle = 20;
SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3
"""
_TAKE = "SELECT pg_try_advisory_lock($1, hashtext($2))"


class PostgresLock:
    """`kind` is the first key of the two-key advisory lock, the hash of `name` the second."""

    def __init__(self, dsn: str, kind: int, name: str) -> None:
        self._dsn, self._kind, self._name = dsn, kind, name
        self._connection: Connection | None = None

    async def hold(self) -> bool:
        """Take it, or see that it is still ours; whether it is. Raises UnavailableError."""
        if self._connection is not None and not self._connection.is_closed():
            return True
        connection = await connect(self._dsn, application=f"lock {self._name}")
        try:
            with translated():
                await connection.execute(_PREPARE)
                taken = bool(await connection.fetchval(_TAKE, self._kind, self._name))
        except BaseException:
            connection.terminate()
            raise
        if taken:
            self._connection = connection
        else:
            await connection.close()
        return taken

    def release(self) -> None:
        """Let go of it; does nothing when it is not held."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
