"""Keeps every curated table ready for the days to come."""

from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State

from flows import stores
from flows.catalog import all_contracts
from flows.runs import Schedule, measured, missed
from infra.settings import Settings, load

NAME = "partitions"
DAILY = Schedule.daily()


@flow(name=NAME, persist_result=False)
async def extend_partitions(schedule: Schedule = DAILY) -> str | State[None]:
    """Prepare every contract's table and its partitions ahead; returns what was done in one sentence."""
    if late := missed(schedule):
        return late
    with measured(NAME):
        tables = await extend(load(), datetime.now(UTC))
        return f"Ready for the days to come: {', '.join(tables)}."


async def extend(settings: Settings, now: datetime) -> list[str]:
    """The same as a plain function: `now` decides how far ahead."""
    contracts = all_contracts()
    await stores.prepare_tables(settings, contracts)
    async with stores.open_store(settings, NAME) as store:
        for contract in contracts:
            await store.partitions.ensure_ahead(contract, now)
    return [contract.table for contract in contracts]
