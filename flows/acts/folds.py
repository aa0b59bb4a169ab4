"""Folds the graph's old batches into a node a day; Postgres keeps every batch."""

from datetime import datetime, timedelta

from flows.process import stores
from infra.settings import Settings
from lineage.fold import fold_next_day
from lineage.model import Run

NAME = "folds"


async def fold(settings: Settings, run: Run, now: datetime) -> list[str]:
    """Fold every day that ended `fold_after` before `now`, the oldest first."""
    days = []
    async with stores.open_connection(settings, NAME, statement_timeout=timedelta(0)) as connection:
        while day := await fold_next_day(connection, run, now - settings.fold_after):
            days.append(day)
    return days
