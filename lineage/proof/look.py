"""One check of a proof: whatever was done to what it reads, it ends with differences, not with an error."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import polars as pl

from ..errors import DataError
from ..ports import Connection
from .findings import Findings

_OF_THE_DATA = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, DataError),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)
# The classes of `sqlstate`, which a driver's errors carry: a value that does not fit, more rows than one, a
# broken constraint, a table or column that is not there, a limit.
_STATES = ("22", "21", "23", "42", "54")


async def look(connection: Connection, findings: Findings, check: str, found: AsyncIterator[str]) -> None:
    """Add what a check finds; it has a savepoint of its own, so that the next one can go on."""
    with unreadable(findings, check):
        async with connection.transaction():
            async for difference in found:
                findings.add(check, [difference])


@contextmanager
def unreadable(findings: Findings, check: str, of: str = "") -> Iterator[None]:
    """What is stored and cannot be read is a difference; a service that is away is an error as ever.

    `of`: whose it is, where the name of the check does not say it.
    """
    try:
        yield
    except (Exception, pl.exceptions.PanicException) as error:
        state = str(getattr(error, "sqlstate", None) or "")
        if not isinstance(error, _OF_THE_DATA) and state[:2] not in _STATES:
            raise
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        findings.add(check, [f"{of or check}: what is stored cannot be read any more ({said})"])
