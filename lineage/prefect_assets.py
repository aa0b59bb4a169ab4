"""Prefect's assets: the events that `@materialize` leaves on a Prefect server, taken into the record.

The client emits `prefect.asset.materialization.succeeded` for each asset a task made, with the assets it
used as related resources (role `asset`); the server keeps events for a week. Needs Prefect 3.8 or later.

Anybody who reaches the server can send such an event. So an asset is `prefect:{key}` here, its flow
`prefect:{flow}`, its run has an id of its own, and an event of which no record can be made is left out and
told.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventOrder
from prefect.events.schemas.events import ReceivedEvent
from prefect.exceptions import ObjectNotFound

from . import apart, assets
from .assets import Materialization
from .errors import RejectedError
from .model import Fact, Run
from .ports import Connection

SOURCE = "prefect"
EVENT = "prefect.asset.materialization.succeeded"
PAGE = 50
"""Events in one answer; more the server does not give."""
KEPT = timedelta(days=7)
"""How long a Prefect server keeps events, unless told otherwise: how far the first look goes back."""

Names = Callable[[str], str | None]
"""Asset key → our name of the dataset, if it is one of ours."""
LeftOut = Callable[[str, str], None]
"""Takes an event's id and why no record is made of it."""


def none_of_ours(_key: str) -> None:
    """Whoever has no tables."""


def nobody(_event: str, _reason: str) -> None:
    """Nobody is told."""


async def capture(
    connection: Connection,
    client: PrefectClient,
    *,
    back: timedelta,
    names: Names = none_of_ours,
    left_out: LeftOut = nobody,
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
        try:
            materialization = await _materialization(event, runs, names)
        except RejectedError as error:
            left_out(str(event.id), str(error))
            continue
        if materialization is not None:
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
    """What an event says; None for one that no flow run stands behind.

    Raises RejectedError for one whose run is none, or that names what no database stores as a key.
    """
    resources = event.resources_in_role
    if not resources["flow-run"]:
        return None
    flow_run = resources["flow-run"][0]
    there = _id(flow_run.id.removeprefix("prefect.flow-run."))
    run = await runs.get(there)
    flow = resources["flow"][0].name if resources["flow"] else None
    started = (run.created if run else None) or event.occurred
    read = sorted({related.id for related in resources["asset"]})
    return Materialization(
        id=str(event.id),
        asset=_theirs(event.resource.id),
        sources=tuple(_theirs(key) for key in read if names(key) is None),
        ours=tuple(name for key in read if (name := names(key)) is not None),
        occurred=event.occurred,
        run=Run(
            id=apart.run_id(apart.PREFECT, str(there)),
            kind="flow",
            name=_told(flow_run.name or str(there)),
            started_at=started,
        ),
        transformation=apart.transformation(
            _theirs(flow or "flow"), _told((run and run.flow_version) or "unknown")
        ),
        facts=_facts(event, there),
    )


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise RejectedError(f"{text[:80]!a} is no flow run.") from error


def _theirs(name: str) -> str:
    """A name in the server's namespace."""
    return _told(f"{apart.PREFECT}{name}")


def _told(text: str) -> str:
    if not apart.fits_a_key(text):
        raise RejectedError(f"{text[:80]!a} is nothing that a database stores as a key.")
    return text


def _facts(event: ReceivedEvent, flow_run: UUID) -> dict[str, Fact]:
    """What the flow said of this materialization."""
    facts: dict[str, Fact] = {"event": str(event.id), "flow_run": str(flow_run)}
    by = event.resources_in_role["asset-materialized-by"]
    if by:
        facts["materialized_by"] = _told(by[0].id)
    return facts
