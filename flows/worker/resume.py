"""Flow runs that did not complete, and another try: the same run again, with the same parameters."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from prefect import Flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from flows.acts import asking
from flows.batch.pull import pull
from flows.process.ours import FLOW, Installation, paged
from flows.process.prefect_errors import translated
from flows.worker.runnable import flows
from flows.worker.warm import claim_and_run, schedule_again

FAILED: Final = (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """A run that did not complete and whose work nobody did since; `reason` is what it said."""

    flow: str
    run: FlowRun

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def ended_at(self) -> datetime | None:
        return self.run.end_time

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.run.parameters

    @property
    def reason(self) -> str:
        return (self.run.state.message or self.run.state.name or "") if self.run.state else ""

    @property
    def cancelled(self) -> bool:
        return self.run.state_type is StateType.CANCELLED


async def failed_runs(ours: Installation) -> list[FailedRun]:
    """The runs of ours to resume, the oldest first: of one flow with the same parameters the newest.

    One is left out when a later run of that flow with those parameters has completed.
    """
    with translated():
        async with get_client() as client:
            return [each for name in _flows() async for each in _failed(client, ours, name)]


async def resume(failed: FailedRun) -> StateType:
    """Run it again here, under its own id; the state it is in afterwards.

    PENDING when a worker was faster and runs it.
    """
    with translated():
        async with get_client() as client:
            await schedule_again(client, failed.run, "Resumed: it had not completed.")
            return await claim_and_run(client, _flows()[failed.flow], failed.run)


def _flows() -> dict[str, Flow[..., Any]]:
    """Every flow of ours by its name; one of an older version has a name whose runs are understood still."""
    return flows() | {asking.OF_BEFORE: pull}


async def _failed(client: PrefectClient, ours: Installation, flow: str) -> AsyncIterator[FailedRun]:
    ended = FlowRunFilterState(type=FlowRunFilterStateType(any_=[*FAILED, StateType.COMPLETED]))
    runs = paged(
        client.read_flow_runs,
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW + flow])),
        flow_run_filter=FlowRunFilter(state=ended, tags=ours.runs),
        sort=FlowRunSort.START_TIME_ASC,
    )
    newest: dict[str, FlowRun] = {}
    async for run in runs:
        parameters = json.dumps(run.parameters, sort_keys=True)
        newest.pop(parameters, None)  # so that they stand in the order in which they ran last
        newest[parameters] = run
    for run in newest.values():
        if run.state_type in FAILED:
            yield FailedRun(flow=flow, run=run)
