"""Where commits go: one Postgres connection, which is one writer of the lineage log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

from infra.postgres import Connection, Pool, UniqueViolation, connect, met_another, translated
from lineage.keys import NO_KEYS, KeyRing
from lineage.log import Writer, open_writer
from tasks.load.edges import Subject
from tasks.tables.partitions import Partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSession:
    """A connection, the writer it is, and what need not be asked or said again."""

    connection: Connection
    writer: Writer
    partitions: Partitions  # of the store: they outlive the connection
    keys: KeyRing  # of the digests
    known_subjects: set[Subject] = field(default_factory=set)  # committed; a restore may have lost older ones
    first_readers: dict[str, str] = field(default_factory=dict)  # dataset → the pipeline that read it first
    announced: set[tuple[str, UUID]] = field(default_factory=set)  # transformation and run, by this writer


class Store:
    """Holds the session; after an error the next `work` opens a new one."""

    def __init__(
        self,
        dsn: str,
        pool: Pool,
        *,
        application: str,
        keys: KeyRing = NO_KEYS,
        statement_timeout: timedelta = timedelta(minutes=1),
        commit_timeout: timedelta = timedelta(minutes=5),
    ) -> None:
        self._dsn = dsn
        self._statement_timeout = statement_timeout
        self.commit_timeout = commit_timeout  # for all of one batch: a frozen server must not hold us
        self._application = application
        self._keys = keys
        self._session: WriterSession | None = None
        self.pool = pool
        self.partitions = Partitions(pool)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[WriterSession]:
        """The session for one commit, for as long as a commit may take.

        Any failure cuts the connection: what stood open is rolled back, and its locks are free. Partitions
        are looked for again. Raises UnavailableError when Postgres is away or slower than `commit_timeout`,
        and when another commit wrote the same keys or numbers at once.
        """
        try:
            with translated():
                async with asyncio.timeout(self.commit_timeout.total_seconds()):
                    yield await self._open_session()
        except BaseException as error:
            self.discard()
            self.partitions.forget()
            if isinstance(error, UniqueViolation):
                raise met_another(error) from error
            raise

    async def _open_session(self) -> WriterSession:
        if self._session is not None and self._session.connection.is_closed():
            self._session = None
        if self._session is None:
            connection = await connect(
                self._dsn,
                application=self._application,
                statement_timeout_ms=round(self._statement_timeout.total_seconds() * 1000),
            )
            with translated():
                self._session = WriterSession(
                    connection=connection,
                    writer=await open_writer(connection, self._application),
                    partitions=self.partitions,
                    keys=self._keys,
                )
        return self._session

    def discard(self) -> None:
        """Cut the connection at once: what it had not committed is rolled back, and its writer ends."""
        if self._session is not None:
            self._session.connection.terminate()
            self._session = None

    async def close(self) -> None:
        """Close the connection in good order."""
        if self._session is not None:
            await self._session.connection.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        else:
            self.discard()
