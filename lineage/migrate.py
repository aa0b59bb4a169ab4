"""Brings a database to the schema the engine needs: each migration once, in the order of their names."""

import hashlib
from collections.abc import Iterable, Iterator
from importlib import resources

from . import query_files
from .errors import QueryError
from .ports import Connection

LOCK = 0x4865_6164  # advisory lock of every schema change: two of them at once would deadlock
_TABLE = query_files.read(__package__, "migrations_table.sql")

Migration = tuple[str, str]
"""A name that is never used again, and the SQL."""


async def migrate(connection: Connection) -> list[str]:
    """Create or complete the engine's own tables, in the schema `store`; returns the names applied."""
    return await apply(connection, migrations_of(__package__, "lineage"))


async def apply(connection: Connection, migrations: Iterable[Migration]) -> list[str]:
    """Apply what is missing; returns the names applied. Raises QueryError if one was edited since."""
    applied: list[str] = []
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
    try:
        await connection.execute(_TABLE)
        for name, sql in migrations:
            if await _apply(connection, name, sql):
                applied.append(name)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)
    return applied


async def missing(connection: Connection, migrations: Iterable[Migration]) -> list[str]:
    """The names of those that are not applied yet; changes nothing."""
    applied: set[str] = set()
    if await connection.fetchval("SELECT to_regclass('store.migrations')") is not None:
        applied = {row["name"] for row in await connection.fetch("SELECT name FROM store.migrations")}
    return [name for name, _ in migrations if name not in applied]


def migrations_of(package: str, prefix: str) -> Iterator[Migration]:
    """The .sql files in a package's `migrations`, named `prefix/FILE` wherever the package is installed."""
    folder = resources.files(package) / "migrations"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            yield f"{prefix}/{file.name}", file.read_text(encoding="utf-8")


async def _apply(connection: Connection, name: str, sql: str) -> bool:
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    known = await connection.fetchval("SELECT checksum FROM store.migrations WHERE name = $1", name)
    if known is not None:
        if known != checksum:
            raise QueryError(f"migration {name} was edited after it was applied: add a new one instead")
        return False
    async with connection.transaction():
        await connection.execute(sql)
        await connection.execute(
            "INSERT INTO store.migrations (name, checksum) VALUES ($1, $2)", name, checksum
        )
    return True
