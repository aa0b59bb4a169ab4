"""Which flows ran lately, as Prefect's server remembers them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterStartTime,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from flows.process.ours import FLOW, Installation, paged
from flows.process.prefect_errors import translated


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRunSeen:
    """One flow run; `started_by` is `schedule`, `trigger` (it has a key of what was seen) or `hand`."""

    flow: str
    name: str
    state: str
    started_by: str
    started_at: datetime | None
    duration: timedelta


async def flow_runs(ours: Installation, limit: int) -> list[FlowRunSeen]:
    """The newest runs of ours that have started, newest first; raises UnavailableError or RejectedError."""
    started = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False), tags=ours.runs)
    with translated():
        async with get_client() as client:
            newest = paged(
                client.read_flow_runs, flow_run_filter=started, sort=FlowRunSort.START_TIME_DESC, most=limit
            )
            runs = [run async for run in newest]
            called = FlowFilter(id=FlowFilterId(any_=list({run.flow_id for run in runs})))
            flows = {flow.id: flow.name async for flow in paged(client.read_flows, flow_filter=called)}
    return [_seen(run, flows[run.flow_id].removeprefix(FLOW)) for run in runs]


def _seen(run: FlowRun, flow: str) -> FlowRunSeen:
    by_whom = "schedule" if run.auto_scheduled else "trigger" if run.idempotency_key else "hand"
    return FlowRunSeen(
        flow=flow,
        name=run.name,
        state=run.state_name or "",
        started_by=by_whom,
        started_at=run.start_time,
        duration=run.total_run_time,
    )
