"""Which of the graph's refusals mean that it is away, so that the same call may work later."""

import pytest
from neo4j.exceptions import AuthError, Neo4jError

from infra.graph import _translated
from lineage.errors import QueryError, UnavailableError


def test_an_accepted_connection_that_is_refused_is_a_graph_that_shuts_down() -> None:
    with pytest.raises(UnavailableError, match="shuts down"), _translated():
        raise AuthError("The credentials of this connection are no longer valid")


def test_a_failure_of_the_server_itself_is_tried_again() -> None:
    """What ArcadeDB says while it closes its database."""
    message, code = "Error executing Cypher command: …", "Neo.DatabaseError.General.UnknownError"
    with pytest.raises(UnavailableError, match="it failed"), _translated():
        raise Neo4jError._hydrate_neo4j(code=code, message=message)


def test_a_statement_that_is_wrong_is_not() -> None:
    code = "Neo.ClientError.Statement.SyntaxError"
    with pytest.raises(QueryError, match="no such function"), _translated():
        raise Neo4jError._hydrate_neo4j(code=code, message="no such function")


def test_a_wrong_password_is_not() -> None:
    with pytest.raises(QueryError, match="HEADWATER_GRAPH_USER"), _translated():
        raise AuthError("The client is unauthorized due to authentication failure.")
