"""The graph over a driver that is given: `ports.Graph` for whoever has an `AsyncDriver` of neo4j's at hand.

The driver is not imported here; its own errors pass through.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from .errors import QueryError

PAGE = 1_000
"""Rows the driver fetches at a time."""
READING = ("r", None)
"""How a server calls a statement that only reads."""


class BoltGraph:
    """A database of the driver's server; None is the server's default one."""

    def __init__(self, driver: Any, database: str | None = None) -> None:
        self._driver = driver
        self._database = database

    async def read(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of a read-only query."""
        async with self._session("READ") as session:
            rows: list[dict[str, Any]] = await session.execute_read(_rows, query, dict(parameters))
            return rows

    async def stream(
        self, query: str, parameters: Mapping[str, Any] | None = None, seconds: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Rows of a large read-only query, one by one; the server gives up after `seconds`.

        It is rolled back, whatever it did; raises QueryError where the server says that it wrote.
        """
        async with (
            self._session("READ") as session,
            await session.begin_transaction(timeout=seconds) as transaction,
        ):
            result = await transaction.run(query, dict(parameters or {}))
            async for record in result:
                yield record.data()
            kind = (await result.consume()).query_type
            if kind not in READING:
                raise QueryError(
                    f"The graph says that a statement may write (its type is {kind}): rolled back."
                )

    async def write(self, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Run the statements in one transaction, retried by the driver when that may help."""
        async with self._session("WRITE") as session:
            await session.execute_write(_run_all, statements)

    def _session(self, access: str) -> Any:
        return self._driver.session(database=self._database, default_access_mode=access, fetch_size=PAGE)


async def _rows(transaction: Any, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    result = await transaction.run(query, parameters)
    rows: list[dict[str, Any]] = await result.data()
    return rows


async def _run_all(transaction: Any, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for query, parameters in statements:
        result = await transaction.run(query, dict(parameters))
        await result.consume()
