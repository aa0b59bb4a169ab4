"""All triggers side by side, each with its receiver and its starter, in one process of a store at a time."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import uuid4

import structlog
from prefect.client.orchestration import PrefectClient

from flows.catalog import Catalog
from flows.process import lifecycle, stores
from flows.process.counting import metrics
from flows.process.ours import Installation
from flows.process.retry import without_end
from flows.triggers import deployments
from flows.triggers.receiver import Receiver, source_of
from flows.triggers.shown import Shown
from flows.triggers.starter import Starter
from infra.postgres_lock import PostgresLock
from infra.settings import Settings
from lineage.errors import UnavailableError
from lineage.model import Run, Transformation
from lineage.version import transformation_of
from tasks.load.trigger_events import TriggerPlan
from tasks.our_code import DECIDES_NOTHING, OURS
from tasks.transform.event import judge
from tasks.trigger import Trigger

log = structlog.get_logger(__name__)

KIND: Final = 0x48_54  # "HT": the first key of the lock that one process has for a trigger
LOOK_EVERY: Final = 1.0  # seconds between two looks whether it is ours
BEGIN_AGAIN: Final = 30.0  # seconds until a trigger that could not go on is begun again


async def run_triggers(
    settings: Settings, catalog: Catalog, client: PrefectClient, ours: Installation, state: lifecycle.State
) -> None:
    """Every trigger of the catalog, without end: one that cannot go on is begun again, beside the others."""

    async def go_on(trigger: Trigger) -> None:
        shown = Shown(trigger.name, state)
        while True:
            try:
                await run_trigger(settings, catalog, trigger, client, ours, shown)
            except Exception as error:  # whatever it is, the others go on
                shown.receiving(f"ended, it is begun again: {error}")
                log.exception("a trigger has ended, it is begun again", trigger=trigger.name)
            await asyncio.sleep(BEGIN_AGAIN)

    await lifecycle.together(*(go_on(trigger) for trigger in catalog.triggers.values()))


async def run_trigger(
    settings: Settings,
    catalog: Catalog,
    trigger: Trigger,
    client: PrefectClient,
    ours: Installation,
    shown: Shown,
) -> None:
    """One trigger, without end; raises when it cannot go on, or another process has taken it."""
    source, plan = source_of(settings, trigger), plan_of(trigger)
    metrics().declare(trigger.reader)
    lock = PostgresLock(stores.postgres_dsn(settings), KIND, trigger.name)
    try:
        while not await without_end(lock.hold, what=f"trigger {trigger.name}"):
            shown.receiving("another `headwater serve` runs it")
            await asyncio.sleep(LOOK_EVERY)
        async with (
            stores.open_store(settings, "trigger") as receiving,
            stores.open_store(settings, "trigger") as starting,
        ):
            complete = partial(deployments.complete, settings, catalog, ours)
            starter = Starter(starting, plan, client, ours, complete, shown)
            receiver = Receiver(source, receiving, plan, shown, starter.look)
            await lifecycle.together(receiver.run(), starter.run(), _keep(lock, trigger))
    finally:
        lock.release()


def plan_of(trigger: Trigger) -> TriggerPlan:
    """What its commits say of it: the version is of its file and of the code that judges messages."""
    said = trigger.model_dump(mode="json", exclude={"doc", "owner"})
    version: Transformation = transformation_of(
        judge, name=trigger.reader, within=OURS, without=DECIDES_NOTHING, parameters=said
    )
    run = Run(id=uuid4(), kind="listener", name=trigger.reader, started_at=datetime.now(UTC))
    return TriggerPlan(trigger=trigger, transformation=version, run=run)


async def _keep(lock: PostgresLock, trigger: Trigger) -> None:
    """Look that the trigger is still ours: another may take it while Postgres is away."""
    held = True
    while held:
        await asyncio.sleep(LOOK_EVERY)
        held = await without_end(lock.hold, what=f"trigger {trigger.name}")
    raise UnavailableError(f"the trigger {trigger.name}", "another `headwater serve` has taken it")
