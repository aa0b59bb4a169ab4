"""A flow's steps as Prefect tasks: plain functions, tried again as the pipeline says.

    extract ─▶ transform ─▶ load ─▶ verify

Nothing of a step is cached or persisted by Prefect: what counts is committed in Postgres.
"""

from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from flows.catalog import Retry
from lineage.errors import UnavailableError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def step(
    name: str, function: Callable[Parameters, Awaitable[Result]], retry: Retry
) -> Callable[Parameters, Awaitable[Result]]:
    """The function as a Prefect task of that name; it is tried again when a service was away, not else."""
    return task(
        name=name,
        retries=retry.times,
        retry_delay_seconds=retry.delays or None,
        retry_jitter_factor=0.5,
        retry_condition_fn=_was_unavailable,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(function)


async def _was_unavailable(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.data, UnavailableError)
