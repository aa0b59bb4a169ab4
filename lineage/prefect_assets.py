"""Prefect's assets: the events that `@materialize` leaves on a Prefect server, taken into the record.

The client emits `prefect.asset.materialization.succeeded` for each asset a task made, with the assets it
used as related resources (role `asset`); the server keeps events for a week. Needs Prefect 3.8 or later.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventOrder
from prefect.events.schemas.events import ReceivedEvent
from prefect.exceptions import ObjectNotFound

from . import assets
from .assets import Materialization
from .model import Fact, Run, Transformation
from .ports import Connection

SOURCE = "prefect"
EVENT = "prefect.asset.materialization.succeeded"
PAGE = 50
"""Events in one answer; more the server does not give."""
KEPT = timedelta(days=7)
"""How long a Prefect server keeps events, unless told otherwise: how far the first look goes back."""

Names = Callable[[str], str]
"""Asset key → the name of its dataset in the record."""


def as_it_is(key: str) -> str:
    """An asset's key is its name."""
    return key


async def capture(
    connection: Connection, client: PrefectClient, *, back: timedelta, names: Names = as_it_is
) -> int:
    """Take the materializations since `back` before the last one taken; returns how many were new.

    Events come by the time they occurred, and one may reach the server late: `back` is how late. What was
    taken before is not taken again, so a capture that was killed is simply called again.
    """
    now = datetime.now(UTC)
    reached = await assets.cursor(connection, SOURCE)
    runs = _Runs(client)
    taken = 0
    async for event in _events(client, now - KEPT if reached is None else reached - back, now):
        if (materialization := await _materialization(event, runs, names)) is not None:
            taken += await assets.take(connection, materialization)
            await assets.move(connection, SOURCE, event.occurred)
    return taken


async def _events(client: PrefectClient, since: datetime, until: datetime) -> AsyncIterator[ReceivedEvent]:
    """The events of this span in the order in which they occurred."""
    wanted = EventFilter(
        event=EventNameFilter(name=[EVENT]),
        occurred=EventOccurredFilter(since=since, until=until),
        order=EventOrder.ASC,
    )
    page = await client.read_events(wanted, limit=PAGE)
    while True:
        for event in page.events:
            yield event
        if page.next_page is None:
            return
        page = await client.read_events_page(str(page.next_page))


class _Runs:
    """Flow runs by id, each asked for once."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._known: dict[UUID, FlowRun | None] = {}

    async def get(self, number: UUID) -> FlowRun | None:
        """None if the server has forgotten it."""
        if number not in self._known:
            try:
                self._known[number] = await self._client.read_flow_run(number)
            except ObjectNotFound:
                self._known[number] = None
        return self._known[number]


async def _materialization(event: ReceivedEvent, runs: _Runs, names: Names) -> Materialization | None:
    """What an event says; None for one that no flow run stands behind."""
    resources = event.resources_in_role
    if not resources["flow-run"]:
        return None
    flow_run = resources["flow-run"][0]
    run_id = UUID(flow_run.id.removeprefix("prefect.flow-run."))
    run = await runs.get(run_id)
    flow = resources["flow"][0].name if resources["flow"] else None
    started = (run.created if run else None) or event.occurred
    return Materialization(
        id=str(event.id),
        asset=names(event.resource.id),
        sources=tuple(sorted({names(related.id) for related in resources["asset"]})),
        occurred=event.occurred,
        run=Run(id=run_id, kind="flow", name=flow_run.name or str(run_id), started_at=started),
        transformation=Transformation(name=flow or "flow", version=(run and run.flow_version) or "unknown"),
        facts=_facts(event),
    )


def _facts(event: ReceivedEvent) -> dict[str, Fact]:
    """What the flow said of this materialization."""
    facts: dict[str, Fact] = {"event": str(event.id)}
    by = event.resources_in_role["asset-materialized-by"]
    if by:
        facts["materialized_by"] = by[0].id
    return facts
