"""Which of the driver's errors mean that Postgres is away, so that the same call may work later."""

import asyncpg
import pytest

from infra.postgres import translated
from lineage.errors import QueryError, UnavailableError


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset by peer"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.AdminShutdownError("terminating connection"),
        # What a listener met whose Postgres was stopped between two messages of one statement.
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        # An error of class 22, as those of a value are, and yet of no row: all would be rejected.
        asyncpg.SequenceGeneratorLimitExceededError("nextval: reached maximum value of sequence"),
    ],
)
def test_a_broken_connection_is_postgres_being_away(error: Exception) -> None:
    with pytest.raises(UnavailableError, match=str(error).split(";")[0]), translated():
        raise error


def test_a_refused_statement_is_not() -> None:
    with pytest.raises(QueryError), translated():
        raise asyncpg.UndefinedTableError("no such table")
