"""What the record needs from the outside, so that the drivers stay outside.

asyncpg's connections and the graph adapter of `infra/graph.py` fit; so do others of the same shape.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol


class Connection(Protocol):
    """A Postgres connection, as asyncpg's is."""

    async def execute(self, query: str, *args: Any) -> str: ...
    async def executemany(self, command: str, args: Any) -> None: ...
    async def fetch(self, query: str, *args: Any) -> list[Any]: ...
    async def fetchrow(self, query: str, *args: Any) -> Any: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    def cursor(self, query: str, *args: Any) -> Any:
        """A cursor, to be awaited inside a transaction; its `fetch(n)` gives the next rows."""
        ...

    async def copy_from_query(
        self,
        query: str,
        *args: Any,
        output: Callable[[bytes], Coroutine[Any, Any, None]],
        format: Literal["binary"],
    ) -> str: ...

    def transaction(
        self, *, isolation: Literal["repeatable_read"] | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[Any]: ...


class Graph(Protocol):
    """A property graph that answers Cypher over Bolt."""

    async def read(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of a read-only query."""
        ...

    def stream(
        self, query: str, parameters: Mapping[str, Any] | None = None, seconds: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Rows of a large read-only query, one by one; the server gives up after `seconds`."""
        ...

    async def write(self, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Run the statements in one transaction."""
        ...
