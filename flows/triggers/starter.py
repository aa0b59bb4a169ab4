"""From Postgres to Prefect: every event that waits gets its flow run, and once."""

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from flows.process.ours import Installation
from flows.process.retry import must_wait, without_end
from flows.triggers import deployments
from flows.triggers.deployments import Complete, ParametersError
from flows.triggers.shown import Shown
from lineage import trigger_events
from lineage.errors import HeadwaterError
from tasks.load.store import Store
from tasks.load.trigger_events import TriggerPlan, Waiting, count_waiting, record_start, waiting

ASK_AGAIN: Final = 2.0  # seconds until Prefect is asked again for what could not be started
REFUSED_FOR: Final = 60.0  # seconds until an event whose parameters were refused is tried again


def key_of(event: UUID) -> str:
    """The idempotency key of an event's flow run, which a server keeps by flow."""
    return f"headwater event {event}"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why the parameters of an event were refused, and until when it is not tried again."""

    why: str
    until: float  # of the time of `monotonic`


class Starter:
    """Starts the events of one trigger; `look` says that there may be a new one."""

    def __init__(
        self,
        store: Store,
        plan: TriggerPlan,
        client: PrefectClient,
        ours: Installation,
        complete: Complete,
        shown: Shown,
    ) -> None:
        self._store, self._plan, self._trigger = store, plan, plan.trigger
        self._client, self._ours, self._shown = client, ours, shown
        self._complete = complete
        self._what = f"trigger {plan.trigger.name}"
        self._refused: dict[UUID, _Refusal] = {}
        self._news = asyncio.Event()

    def look(self) -> None:
        self._news.set()

    async def run(self) -> None:
        """Start whatever waits, at once and when something new does, without end."""
        while True:
            self._news.clear()
            why = await self._start_what_waits()
            if why:
                self._shown.waits(await self._count(), why)
            else:
                self._shown.waits_no_more()
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_AGAIN if why else None):
                    await self._news.wait()

    async def _start_what_waits(self) -> str:
        """Why something still waits; empty: nothing does."""
        try:
            await self.start_all()
        except HeadwaterError as error:
            return str(error)
        return next((refusal.why for refusal in self._refused.values()), "")

    async def _count(self) -> int:
        async def ask() -> int:
            return await count_waiting(self._store.pool, self._trigger.name)

        return await without_end(ask, what=self._what, when=must_wait)

    async def start_all(self) -> None:
        """Start what waits, in the order in which it came; raises UnavailableError or NotFoundError.

        An event whose parameters are refused waits, and holds up no other.
        """
        deployment: DeploymentResponse | None = None
        left: dict[UUID, _Refusal] = {}
        async with aclosing(waiting(self._store.pool, self._trigger.name)) as those_waiting:
            async for event in those_waiting:
                refusal = self._refused.get(event.event)
                if refusal is None or refusal.until < monotonic():
                    deployment = deployment or await deployments.find(self._client, self._trigger.run)
                    refusal = await self._start(deployment, event)
                if refusal:
                    left[event.event] = refusal
        self._refused = left

    async def _start(self, deployment: DeploymentResponse, event: Waiting) -> _Refusal | None:
        try:
            parameters = self._complete(deployment, event.parameters)
            flow_run = await deployments.start(self._client, deployment, parameters, key_of(event.event))
        except ParametersError as error:
            return _Refusal(str(error), monotonic() + REFUSED_FOR)
        run = trigger_events.run_of(flow_run.id, ours=self._ours.mark in deployment.tags)
        async with self._store.work() as session:
            await record_start(
                session.connection,
                self._plan.transformation,
                event.event,
                flow_run.id,
                run=run,
                deployment=self._trigger.run,
            )
        self._shown.started(event.event, flow_run.id)
        return None
