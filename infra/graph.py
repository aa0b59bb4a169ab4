"""The graph over Bolt: the only place that imports the neo4j driver, and that turns its errors into ours."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import neo4j
from neo4j.exceptions import (
    AuthError,
    ConstraintError,
    DatabaseError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    TransientError,
)

from infra.endpoints import GraphEndpoint
from lineage import bolt
from lineage.errors import QueryError, UnavailableError

RETRY_SECONDS = 5.0
"""How long the driver tries a transaction again; the caller knows better how long to wait for the graph."""

EXPIRED = "credentials of this connection are no longer valid"
"""What ArcadeDB tells a connection that it had accepted, when it shuts down."""


class BoltGraph(bolt.BoltGraph):
    """`lineage.ports.Graph` over the official driver, with errors of ours."""

    _driver: neo4j.AsyncDriver

    async def read(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of a read-only query."""
        with _translated():
            return await super().read(query, parameters)

    async def stream(
        self, query: str, parameters: Mapping[str, Any] | None = None, seconds: float | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Rows of a large read-only query, one by one; the server gives up after `seconds`."""
        with _translated():
            async with aclosing(super().stream(query, parameters, seconds)) as rows:
                async for row in rows:
                    yield row

    async def write(self, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Run the statements in one transaction, retried by the driver when that may help."""
        with _translated():
            await super().write(statements)

    async def agent(self) -> str:
        """What the server says it is, e.g. `Neo4j/5.26.24`."""
        with _translated():
            return (await self._driver.get_server_info()).agent


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except AuthError as error:
        if EXPIRED in str(error):
            raise UnavailableError("The graph", "it shuts down") from error
        raise QueryError("The graph refused the user or the password: check HEADWATER_GRAPH_USER.") from error
    except ConstraintError as error:
        # Everything we write is a MERGE, so this is somebody merging the same node at the same moment.
        raise UnavailableError("The graph", "another client wrote the same nodes at once") from error
    except DatabaseError as error:
        # By Neo4j's status codes the server's own failure; of ArcadeDB also a database that is being closed.
        raise UnavailableError("The graph", f"it failed: {error.message}") from error
    except (ServiceUnavailable, TransientError, OSError, DriverError) as error:
        hint = "Start it, or correct HEADWATER_GRAPH_URI." if isinstance(error, ServiceUnavailable) else ""
        raise UnavailableError("The graph", str(error) or type(error).__name__, hint) from error
    except Neo4jError as error:
        raise QueryError(f"The graph refused a statement: {error.message}") from error


@asynccontextmanager
async def open_graph(endpoint: GraphEndpoint) -> AsyncIterator[BoltGraph]:
    """The graph an endpoint names; the connection is made when it is first used."""
    auth = None
    if endpoint.user is not None and endpoint.password is not None:
        auth = neo4j.basic_auth(endpoint.user, endpoint.password.get_secret_value())
    async with neo4j.AsyncGraphDatabase.driver(
        endpoint.driver_uri,
        auth=auth,
        max_transaction_retry_time=RETRY_SECONDS,
        notifications_min_severity="OFF",  # a line for each index that is there already, or label that is not
        **_trust(endpoint.ca),
    ) as driver:
        yield BoltGraph(driver, endpoint.database)


def _trust(ca: Path | None) -> dict[str, Any]:
    if ca is None:
        return {}
    return {"encrypted": True, "trusted_certificates": neo4j.TrustCustomCAs(str(ca))}
