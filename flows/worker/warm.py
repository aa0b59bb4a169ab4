"""Runs a deployment's flow runs in this process, where everything is imported already.

    key ─create─▶ flow run ─claim (PENDING)─▶ run_flow_async, under a lease

Starting a process for a run takes seconds, this takes tenths. The run belongs to its deployment, so its
concurrency limit holds: slots are taken on entering PENDING, and a run that got none is left to the worker.
The same key gives the same run, and only whoever moved it to PENDING runs it. A lease, a tag that is renewed
while the run goes, tells a run whose process was killed: it is started again once its lease is over. So is
one that failed because a service was away, for the robot soon forgets the run. One that failed otherwise has
had its tries, and one that a person cancelled is not wanted: those are left to `headwater resume`.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import Abort, TerminationSignal
from prefect.flow_engine import run_flow_async
from prefect.states import Pending, Scheduled
from prefect.utilities.engine import propose_state

from flows.process.ours import paged
from flows.process.prefect_errors import translated
from lineage.errors import HeadwaterError, NotFoundError, UnavailableError

log = structlog.get_logger(__name__)

LEASE = "lease:"
TERM: Final = timedelta(seconds=30)
RENEW_EVERY: Final = 10.0  # seconds
RENEW_AGAIN: Final = 1.0  # seconds, when that failed
CLAIMED_FOR: Final = timedelta(minutes=2)  # a run that is PENDING for longer has nobody


class WarmRunner:
    """Runs the flow for one deployment; `limit` runs at a time in this process."""

    def __init__(self, client: PrefectClient, flow: Flow[..., Any], deployment: UUID, limit: int) -> None:
        self._client, self._flow, self._deployment = client, flow, deployment
        self._room = asyncio.Semaphore(limit)

    async def run(self, key: str, parameters: Mapping[str, Any]) -> StateType:
        """Run what the key stands for, unless it was or is run; the state it is in afterwards.

        A run of that key that crashed or lacked a service is run again; one that failed otherwise, or was
        cancelled, is not. Raises UnavailableError when it lacked a service now.
        """
        async with self._room:  # whoever has waited longest is next: a robot forgets its oldest runs first
            return await self._run(key, parameters)

    async def _run(self, key: str, parameters: Mapping[str, Any]) -> StateType:
        flow_run = await self._client.create_flow_run_from_deployment(
            self._deployment, parameters=dict(parameters), idempotency_key=key_of(self._deployment, key)
        )
        if flow_run.state_type is StateType.CRASHED or _lacked_a_service(flow_run):
            await schedule_again(self._client, flow_run, "Started again: it had crashed or lacked a service.")
        elif flow_run.state_type is not StateType.SCHEDULED:
            return flow_run.state_type or StateType.PENDING
        ended = await claim_and_run(self._client, self._flow, flow_run)
        if ended is StateType.FAILED and _lacked_a_service(await self._client.read_flow_run(flow_run.id)):
            raise UnavailableError(
                f"a service that flow run {flow_run.name} needs",
                "each of its tries failed",
                "It is started again by itself.",
            )
        return ended

    async def recover(self) -> int:
        """Start again the runs whose process is gone: their lease is over; how many."""
        going = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING]))
        runs = paged(
            self._client.read_flow_runs,
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[self._deployment])),
            flow_run_filter=FlowRunFilter(state=going),
            sort=FlowRunSort.START_TIME_ASC,
        )
        abandoned = [run async for run in runs if is_abandoned(run, datetime.now(UTC))]
        await asyncio.gather(*map(self._run_again, abandoned))
        return len(abandoned)

    async def _run_again(self, flow_run: FlowRun) -> None:
        async with self._room:
            try:
                with translated():
                    if not is_abandoned(await self._client.read_flow_run(flow_run.id), datetime.now(UTC)):
                        return  # somebody else was faster while we waited for room
                    log.warning("a flow run was abandoned: starting it again", flow_run=flow_run.name)
                    await schedule_again(self._client, flow_run, "Started again: its process is gone.")
                    await claim_and_run(self._client, self._flow, flow_run)
            except NotFoundError as error:  # a person deleted it: the watch starts a new one where one is due
                log.warning("flow run not started again", flow_run=flow_run.name, reason=str(error))


def key_of(deployment: UUID, key: str) -> str:
    """The key on the server, which keeps keys by flow: another installation has the same flow and keys."""
    return f"{deployment} {key}"


def _lacked_a_service(flow_run: FlowRun) -> bool:
    """Whether a run failed because a service was away: Prefect's message names the error."""
    state = flow_run.state
    return state is not None and state.is_failed() and UnavailableError.__name__ in (state.message or "")


async def schedule_again(client: PrefectClient, flow_run: FlowRun, why: str) -> None:
    """Let a run that ended, or whose process is gone, be claimed again."""
    await client.update_flow_run(flow_run.id, tags=_without_lease(flow_run.tags))
    await client.set_flow_run_state(flow_run.id, Scheduled(message=why), force=True)


async def claim_and_run(client: PrefectClient, flow: Flow[..., Any], flow_run: FlowRun) -> StateType:
    """Run a scheduled run here, under a lease; the state it is in afterwards, PENDING if another has it."""
    try:
        state = await propose_state(client, Pending(), flow_run_id=flow_run.id)
    except Abort:  # somebody else has it
        return StateType.PENDING
    if not state.is_pending():
        return state.type
    leasing = asyncio.create_task(_lease(client, flow_run))
    try:
        claimed = await client.read_flow_run(flow_run.id)
        await run_flow_async(flow, flow_run=claimed, parameters=claimed.parameters, return_type="state")
    except TerminationSignal:  # this process ends; Prefect passes the signal on to us
        return StateType.CRASHED
    except asyncio.CancelledError:
        if _are_cancelled():
            raise
        log.warning("Prefect cancelled a flow run, as when its slot expires", flow_run=flow_run.name)
    finally:
        leasing.cancel()
        await asyncio.gather(leasing, return_exceptions=True)
    ended = await client.read_flow_run(flow_run.id)
    return ended.state_type or StateType.PENDING


def _are_cancelled() -> bool:
    """Whether it is we who are cancelled, and not only the flow run inside, by Prefect itself."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _lease(client: PrefectClient, flow_run: FlowRun) -> None:
    """Renew the lease until cancelled; a server that is away for less than its term ends nothing."""
    tags = _without_lease(flow_run.tags)
    while True:
        over = time.time() + TERM.total_seconds()
        try:
            with translated():
                await client.update_flow_run(flow_run.id, tags=[*tags, f"{LEASE}{over:.0f}"])
        except HeadwaterError as error:
            log.warning("lease not renewed", flow_run=flow_run.name, reason=str(error))
            await asyncio.sleep(RENEW_AGAIN)
        else:
            await asyncio.sleep(RENEW_EVERY)


def is_abandoned(flow_run: FlowRun, now: datetime) -> bool:
    """Whether a run that is pending or running has no process any more.

    One without a lease is a worker's, who looks after it; or was claimed and never leased.
    """
    leases = [tag.removeprefix(LEASE) for tag in flow_run.tags if tag.startswith(LEASE)]
    if leases:
        return float(leases[0]) < now.timestamp()
    since = flow_run.state.timestamp if flow_run.state else now
    return flow_run.state_type is StateType.PENDING and now - since > CLAIMED_FOR


def _without_lease(tags: list[str]) -> list[str]:
    return [tag for tag in tags if not tag.startswith(LEASE)]
