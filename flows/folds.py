"""Folds the graph's old batches into a node a day; Postgres keeps every batch."""

from datetime import UTC, datetime, timedelta

from prefect import flow
from prefect.client.schemas.objects import State

from flows import stores
from flows.catalog import Retry
from flows.runs import Schedule, current_run, measured, missed
from flows.steps import step
from infra.settings import Settings, load
from lineage.fold import fold_next_day
from lineage.model import Run

NAME = "folds"
DAILY = Schedule.daily()


@flow(name=NAME, persist_result=False)
async def fold_days(schedule: Schedule = DAILY) -> str | State[None]:
    """Fold every day that is old enough; returns what was done in one sentence."""
    if late := missed(schedule):
        return late
    with measured(NAME):
        days = await step("fold", fold, Retry())(load(), current_run(NAME), datetime.now(UTC))
        return f"Folded {', '.join(days)}." if days else "No day is old enough to be folded."


async def fold(settings: Settings, run: Run, now: datetime) -> list[str]:
    """The same as a plain function: every day that ended `fold_after` before `now`, the oldest first."""
    days = []
    async with stores.open_connection(settings, NAME, statement_timeout=timedelta(0)) as connection:
        while day := await fold_next_day(connection, run, now - settings.fold_after, now):
            days.append(day)
    return days
