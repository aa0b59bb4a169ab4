"""What every part did last and how far behind it is, for `headwater status`."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.asked.robots import RobotSeen, robots_seen
from flows.catalog import Catalog
from flows.process import limits, stores
from flows.process.ours import Installation
from flows.worker.flow_runs import FlowRunSeen, flow_runs
from infra.endpoints import resolve_graph, resolve_mqtt, resolve_postgres, resolve_prefect
from infra.http import http_client
from infra.local.addresses import near
from infra.local.services import ended, endpoints
from infra.masking import mask
from infra.settings import Settings
from lineage import relay
from lineage.errors import HeadwaterError, UnavailableError
from lineage.log import Unshown
from tasks.load.trigger_events import TriggerSeen, triggers_seen
from tasks.look.not_taken import NotTaken, not_taken
from tasks.look.status import Dataset, datasets, open_rejected

PROCESSES = ("listen", "relay", "serve")
FLOW_RUNS = 5
UNSHOWN = 5
NOT_WELL = 503  # what a process answers that cannot do its work now; it says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process; `detail` is what it told at /health, or why it did not."""

    name: str
    state: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything; `postgres` and `prefect` say why when they could not be asked.

    `relay_unshown`: a sentence for each lineage entry that no graph can show. `at_limit`: a sentence for each
    source that is not read. `broken`: one for each file that is left out of the catalog. `not_taken`: files
    that lie in folders. `addresses` are without passwords; `settings` are those that are set.
    """

    parts: tuple[Part, ...]
    datasets: tuple[Dataset, ...]
    relay_lag_entries: int | None
    relay_oldest: datetime | None
    relay_unshown: tuple[str, ...]
    rejected_open: int | None
    at_limit: tuple[str, ...]
    not_taken: tuple[NotTaken, ...]
    triggers: tuple[TriggerSeen, ...]
    broken: tuple[str, ...]
    flow_runs: tuple[FlowRunSeen, ...]
    robots: tuple[RobotSeen, ...]
    postgres: str
    prefect: str
    addresses: Mapping[str, str]
    settings: Mapping[str, str]


async def status(settings: Settings, catalog: Catalog) -> Status:
    """Ask every part; one that is away says so and holds up no other."""
    asking = asyncio.gather(*(_part(settings, name) for name in PROCESSES))
    stored, (runs, prefect), robots = await asyncio.gather(
        _stored(settings, catalog), _flow_runs(settings), robots_seen(settings, catalog)
    )
    return Status(
        parts=tuple(await asking),
        datasets=stored.datasets,
        relay_lag_entries=stored.lag.entries if stored.lag else None,
        relay_oldest=stored.lag.oldest if stored.lag else None,
        relay_unshown=stored.unshown,
        rejected_open=stored.rejected_open,
        at_limit=stored.at_limit,
        not_taken=stored.not_taken,
        triggers=_with_silent(stored.triggers, catalog),
        broken=tuple(each.why for each in catalog.broken),
        flow_runs=runs,
        robots=robots,
        postgres=stored.said,
        prefect=prefect,
        addresses=_addresses(settings),
        settings=settings.masked(),
    )


def _addresses(settings: Settings) -> dict[str, str]:
    """Where everything is, without passwords; what is neither set nor running says so."""
    local = endpoints(settings.home)
    asked: dict[str, Callable[[], str]] = {
        "Postgres": lambda: resolve_postgres(settings, local).dsn.get_secret_value(),
        "Graph": lambda: resolve_graph(settings, local).uri,
        "MQTT broker": lambda: resolve_mqtt(settings, local).url.get_secret_value(),
        "Prefect": lambda: resolve_prefect(settings, local).url,
    }
    found = {name: _or_why_not(where) for name, where in asked.items()}
    ours = {f"headwater {name}": f"{local[name]['url']}/metrics" for name in PROCESSES if name in local}
    return {name: mask(url) for name, url in (found | ours).items()}


def _or_why_not(where: Callable[[], str]) -> str:
    try:
        return where()
    except UnavailableError as error:
        return error.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    said: str  # "ok", or why Postgres could not be asked
    datasets: tuple[Dataset, ...] = ()
    lag: relay.Lag | None = None
    unshown: tuple[str, ...] = ()
    rejected_open: int | None = None
    at_limit: tuple[str, ...] = ()
    not_taken: tuple[NotTaken, ...] = ()
    triggers: tuple[TriggerSeen, ...] = ()


async def _part(settings: Settings, name: str) -> Part:
    local = endpoints(settings.home).get(name)
    if log := ended(settings.home).get(name):
        return Part(name=name, state="ended by itself", detail={"reason": f"see {near(log)}"})
    if local is None:
        return Part(name=name, state="not started here", detail={})
    try:
        async with http_client(name, local["url"], headers={}) as client:
            answer = await client.get("/health", also={NOT_WELL})
        detail: dict[str, Any] = json.loads(answer.body)
    except (HeadwaterError, ValueError) as error:
        return Part(name=name, state="away", detail={"reason": str(error)})
    return Part(name=name, state=str(detail.pop("state", "")), detail=detail)


async def _stored(settings: Settings, catalog: Catalog) -> _Stored:
    try:
        async with stores.open_connection(settings, "status") as connection:
            lag = await relay.lag(connection)
            unshown = await relay.unshown(connection, UNSHOWN)
            stored, waiting = await datasets(connection), await open_rejected(connection)
            left = await not_taken(connection)
            triggers = await triggers_seen(connection)
    except HeadwaterError as error:
        return _Stored(said=str(error))
    return _Stored(
        said="ok",
        datasets=stored,
        lag=lag,
        unshown=_unshown(unshown, lag.unshown),
        rejected_open=sum(waiting.values()),
        at_limit=limits.at_limit(catalog, waiting),
        not_taken=left,
        triggers=triggers,
    )


def _with_silent(seen: Sequence[TriggerSeen], catalog: Catalog) -> tuple[TriggerSeen, ...]:
    """With those of the catalog that had no event yet."""
    known = {each.name: each for each in seen}
    silent = {name: TriggerSeen(name=name, events=0, started=0, since=None) for name in catalog.triggers}
    return tuple((silent | known)[name] for name in sorted(silent | known))


def _unshown(entries: Sequence[Unshown], total: int) -> tuple[str, ...]:
    """A sentence for each entry, and one for those that are more."""
    told = [f"writer {each.writer}, number {each.number}: {each.reason}" for each in entries]
    more = [f"and {total - len(told):,} more"] if total > len(told) else []
    return (*told, *more)


async def _flow_runs(settings: Settings) -> tuple[tuple[FlowRunSeen, ...], str]:
    try:
        resolve_prefect(settings, endpoints(settings.home))
        return tuple(await flow_runs(await Installation.of(settings), FLOW_RUNS)), "ok"
    except HeadwaterError as error:
        return (), str(error)
