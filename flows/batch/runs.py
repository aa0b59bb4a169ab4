"""What a flow run knows of itself: who it is in the lineage, how it went, and whether it comes too late."""

from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import uuid4

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled
from pydantic import Field

from lineage.model import Run
from tasks.contract import Frozen


class Schedule(Frozen):
    """How often a deployment runs, for telling which of its runs come too late to be of use."""

    every: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))

    @classmethod
    def daily(cls) -> Self:
        return cls(every=timedelta(days=1))


def current_run(name: str) -> Run:
    """This flow run as the lineage names it; its start is when it was made, the same in every retry."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return Run(id=uuid4(), kind="command", name=name, started_at=datetime.now(UTC))
    made = context.flow_run.created or datetime.now(UTC)
    return Run(id=context.flow_run.id, kind="flow", name=name, started_at=made)


def missed(schedule: Schedule) -> State[None] | None:
    """The state of a scheduled run that starts an interval late: cancelled, for the next one is due.

    None for a run in time, and for one that somebody asked for.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not context.flow_run.auto_scheduled:
        return None
    expected = context.flow_run.expected_start_time or datetime.now(UTC)
    late = datetime.now(UTC) - expected
    if late < schedule.every:
        return None
    message = f"Missed: it starts {late.total_seconds():.0f} s late and runs every {schedule.every}."
    return Cancelled(name="Missed", message=message)
