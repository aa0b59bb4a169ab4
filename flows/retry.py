"""How work is tried again when a service is away: without end by a long-lived process.

A flow's steps are tried as often as its pipeline says (`flows/catalog.py`). Only UnavailableError is tried
again; bad data is rejected and everything else is raised.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from lineage.errors import UnavailableError

log = structlog.get_logger(__name__)

SHORTEST = 0.2  # seconds
LONGEST = 30.0  # seconds

Result = TypeVar("Result")


async def without_end(work: Callable[[], Awaitable[Result]], *, what: str) -> Result:
    """Do the work, again and again while a service is away; each failure is one line of the log."""

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(f"{what}: waiting for a service", reason=str(error), tries=state.attempt_number)

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(UnavailableError),
        wait=wait_random_exponential(multiplier=SHORTEST, max=LONGEST),
        before_sleep=report,
    )

    async def once() -> Result:
        return await work()  # tenacity awaits only what it sees to be a coroutine function

    return await retrying(once)
