"""Brings a database to the schema this code needs: the engine's migrations, then ours, each once."""

import hashlib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from infra.postgres import Connection, translated
from lineage.errors import QueryError

LOCK = 0x4865_6164  # advisory lock of every schema change: two of them at once would deadlock
_TABLE = """
CREATE SCHEMA IF NOT EXISTS store;
CREATE TABLE IF NOT EXISTS store.migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""


async def migrate(connection: Connection) -> list[str]:
    """Apply what is missing; returns the names applied. Raises QueryError if one was edited since."""
    applied: list[str] = []
    with translated():
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        try:
            await connection.execute(_TABLE)
            for name, sql in _migrations():
                if await _apply(connection, name, sql):
                    applied.append(name)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)
    return applied


async def missing(connection: Connection) -> list[str]:
    """The migrations that are not applied yet; changes nothing."""
    with translated():
        if await connection.fetchval("SELECT to_regclass('store.migrations')") is None:
            return [name for name, _ in _migrations()]
        applied = {row["name"] for row in await connection.fetch("SELECT name FROM store.migrations")}
    return [name for name, _ in _migrations() if name not in applied]


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


def _migrations() -> Iterator[tuple[str, str]]:
    for package in ("lineage", "infra"):
        folder: Traversable = resources.files(package) / "migrations"
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith(".sql"):
                yield f"{package}/{file.name}", file.read_text(encoding="utf-8")
