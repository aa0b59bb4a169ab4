"""Postgres: the only place that imports asyncpg, and that turns its errors into ours."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import TypeAlias

import asyncpg
import pgpq
import polars as pl

from lineage.errors import DataError, HeadwaterError, QueryError, UnavailableError

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Row: TypeAlias = asyncpg.Record
Transaction: TypeAlias = asyncpg.transaction.Transaction
UniqueViolation = asyncpg.UniqueViolationError
LockNotAvailable = asyncpg.LockNotAvailableError

COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)  # no flags, no extension
COPY_TRAILER = b"\xff\xff"
ENCODED_ROWS = 4_096  # sent to COPY in one message, about 1 MB

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke within a statement can leave the driver so
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,  # the server is shutting down, or an administrator cut us off
    asyncpg.InsufficientResourcesError,  # too many connections, disk full, out of memory
    asyncpg.TransactionRollbackError,  # deadlock or serialization: the same call may work
    asyncpg.LockNotAvailableError,
    asyncpg.SequenceGeneratorLimitExceededError,  # class 22, but of no row
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors for asyncpg's; a unique violation passes, its catcher decides."""
    try:
        yield
    except (HeadwaterError, asyncpg.UniqueViolationError):
        raise
    except _AWAY as error:
        raise UnavailableError("Postgres", str(error) or type(error).__name__, _hint(error)) from error
    except asyncpg.PostgresError as error:
        if _lacks_partition(error):
            raise UnavailableError("Postgres", str(error)) from error
        if _is_of_the_data(error):
            raise DataError(f"Postgres refused a row: {error}") from error
        raise QueryError(f"Postgres refused a statement: {error}") from error


async def now(pool: Pool) -> datetime:
    """What time it is by Postgres' clock, which is the same for all hosts."""
    with translated():
        at = await pool.fetchval("SELECT clock_timestamp()")
    assert isinstance(at, datetime)  # noqa: S101 - a function of Postgres
    return at


def met_another(error: UniqueViolation) -> UnavailableError:
    """What a unique violation is where no key of ours is twice: the next try finds what the other wrote."""
    reason = f"another commit wrote the same keys or numbers at once ({error.constraint_name})"
    return UnavailableError("Postgres", reason)


def _hint(error: Exception) -> str:
    """What to do when nothing listens there; what else is wrong passes or names itself."""
    no_server = isinstance(error, OSError) and not isinstance(error, TimeoutError)
    return "Start it, or correct HEADWATER_POSTGRES_DSN." if no_server else ""


def _lacks_partition(error: asyncpg.PostgresError) -> bool:
    """Postgres tells it by the state of a check that failed, but names no constraint."""
    return isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name


def _is_of_the_data(error: asyncpg.PostgresError) -> bool:
    """A value that does not fit (class 22; 54000: a key too long for an index) or breaks a constraint."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return bool(error.constraint_name or error.column_name)
    return isinstance(error, asyncpg.DataError) or type(error) is asyncpg.ProgramLimitExceededError


async def connect(dsn: str, *, application: str, statement_timeout_ms: int = 60_000) -> Connection:
    """Open one connection; raises UnavailableError when there is none to be had."""
    with translated():
        return await asyncpg.connect(
            dsn, timeout=10, server_settings=_server_settings(application, statement_timeout_ms)
        )


@asynccontextmanager
async def open_pool(
    dsn: str, *, application: str, size: int = 4, statement_timeout_ms: int = 60_000
) -> AsyncIterator[Pool]:
    """A small pool for reading and for what is not part of a commit."""
    with translated():
        pool = await asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=size,
            timeout=10,
            server_settings=_server_settings(application, statement_timeout_ms),
        )
    try:
        yield pool
    finally:
        await pool.close()


def _server_settings(application: str, statement_timeout_ms: int) -> dict[str, str]:
    return {
        "application_name": f"headwater {application}",
        "timezone": "UTC",
        "statement_timeout": str(statement_timeout_ms),
        "lock_timeout": str(min(statement_timeout_ms, 30_000)),
    }


async def copy_frame(
    connection: Connection,
    frame: pl.DataFrame,
    table: str,
    *,
    schema: str | None = "store",
    seen: Callable[[bytes], None] | None = None,
) -> None:
    """Copy a frame into a table's columns of the same names, as binary COPY.

    `seen` takes the bytes of the rows as they are sent, without COPY's header and trailer.
    """
    await connection.copy_to_table(
        table,
        schema_name=schema,
        source=_encode(frame, seen),
        columns=list(frame.columns),
        format="binary",
    )


def show_rows(frame: pl.DataFrame, seen: Callable[[bytes], None]) -> None:
    """Give `seen` the bytes of the rows that `copy_frame` would send."""
    for rows in _encoded(frame):
        seen(rows)


async def _encode(frame: pl.DataFrame, seen: Callable[[bytes], None] | None) -> AsyncIterator[bytes]:
    """Piece by piece: Postgres stores one while the next is encoded."""
    yield COPY_HEADER
    for rows in _encoded(frame):
        yield rows
        if seen:
            seen(rows)
    yield COPY_TRAILER


def _encoded(frame: pl.DataFrame) -> Iterator[bytes]:
    """The rows in binary COPY's format; the encoder holds back what is less than a megabyte."""
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    encoder = pgpq.ArrowToPostgresBinaryEncoder(arrow.schema)
    encoder.write_header()
    for batch in arrow.to_batches(max_chunksize=ENCODED_ROWS):
        if rows := encoder.write_batch(batch):
            yield rows
    yield encoder.finish().removesuffix(COPY_TRAILER)
