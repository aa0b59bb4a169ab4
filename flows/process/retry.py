"""How work is tried again when a service is away: without end by a long-lived process.

A flow's steps are tried as often as its pipeline says (`flows/catalog.py`). UnavailableError is tried again;
every other error is raised, except where giving up would stop a source: `must_wait`.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from lineage.errors import DataError, QueryError, UnavailableError

log = structlog.get_logger(__name__)

FIRST_AT_MOST = 0.2  # seconds; each wait is a random part of its bound, which doubles
LONGEST_AT_MOST = 30.0  # seconds

Result = TypeVar("Result")
When: TypeAlias = Callable[[BaseException], bool]


def is_away(error: BaseException) -> bool:
    """Whether a service is away."""
    return isinstance(error, UnavailableError)


def is_broken(error: BaseException) -> bool:
    """Whether a database is there and refuses the statement, whatever the data."""
    return isinstance(error, QueryError) and not isinstance(error, DataError)


def must_wait(error: BaseException) -> bool:
    """Whether it is not the data's fault that it cannot be stored."""
    return is_away(error) or is_broken(error)


def cannot_be_stored(error: BaseException) -> bool:
    """Whether the database is away, broken, or refuses the data."""
    return is_away(error) or isinstance(error, QueryError)


async def without_end(work: Callable[[], Awaitable[Result]], *, what: str, when: When = is_away) -> Result:
    """Do the work, again and again while it fails so; each failure is one line of the log."""

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        waiting = error is None or is_away(error)
        said = "waiting for a service" if waiting else "refused, tried again"
        log.warning(f"{what}: {said}", reason=str(error), tries=state.attempt_number)

    retrying = AsyncRetrying(
        retry=retry_if_exception(when),
        wait=wait_random_exponential(multiplier=FIRST_AT_MOST, max=LONGEST_AT_MOST),
        before_sleep=report,
    )

    async def once() -> Result:
        return await work()  # tenacity awaits only what it sees to be a coroutine function

    return await retrying(once)
