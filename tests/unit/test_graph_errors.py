"""Which of the graph's refusals mean that it is away, so that the same call may work later."""

import pytest
from neo4j.exceptions import AuthError

from infra.graph import _translated
from lineage.errors import QueryError, UnavailableError


def test_an_accepted_connection_that_is_refused_is_a_graph_that_shuts_down() -> None:
    with pytest.raises(UnavailableError, match="shuts down"), _translated():
        raise AuthError("The credentials of this connection are no longer valid")


def test_a_wrong_password_is_not() -> None:
    with pytest.raises(QueryError, match="HEADWATER_GRAPH_USER"), _translated():
        raise AuthError("The client is unauthorized due to authentication failure.")
