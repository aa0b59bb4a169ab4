"""Brings a database to the schema this code needs: the engine's migrations, then ours, each once."""

from infra.postgres import Connection, translated
from lineage import migrate as engine

LOCK = engine.LOCK


async def migrate(connection: Connection) -> list[str]:
    """Apply what is missing; returns the names applied. Raises QueryError if one was edited since."""
    with translated():
        return await engine.apply(connection, _migrations())


async def missing(connection: Connection) -> list[str]:
    """The migrations that are not applied yet; changes nothing."""
    with translated():
        return await engine.missing(connection, _migrations())


def _migrations() -> list[engine.Migration]:
    return [each for package in ("lineage", "infra") for each in engine.migrations_of(package, package)]
