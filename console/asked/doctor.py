"""Everything `headwater doctor` looks at, at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby
from pathlib import Path
from typing import Final

from console.asked import doctor_keys
from console.asked.robots import robots_seen
from console.asked.status import PROCESSES
from flows.catalog import Catalog
from flows.process import stores
from flows.process.limits import at_limit
from flows.worker import doctor_prefect
from infra.doctor import graph, machine, mqtt, postgres
from infra.doctor.finding import Finding, Level, away
from infra.endpoints import resolve_graph
from infra.local.addresses import near
from infra.local.services import ended, endpoints
from infra.settings import Settings
from lineage.counted import counted
from lineage.errors import HeadwaterError, SettingsError, UnavailableError
from tasks.extract.mqtt import MqttOptions
from tasks.look.not_taken import NotTaken, not_taken
from tasks.look.sessions import Absent, absent
from tasks.look.status import open_rejected
from tasks.tables.partitions import missing_ahead
from tasks.trigger import READER

TABLES: Final = "Tables"
REJECTED: Final = "Rejected records"
CATALOG: Final = "Pipelines"
_SERVE: Final = (
    "The broker keeps its messages: run `headwater serve`. If it is gone for good, connect once with the "
    "client id {} and a clean session."
)
FILES: Final = 5  # of a folder, named
SILENT: Final = timedelta(minutes=5)
"""A listener that was not seen for so long, and has not left, is absent."""

Check = Callable[[Settings], Awaitable[tuple[Finding, ...]]]


async def examine(settings: Settings, catalog: Catalog) -> list[Finding]:
    """All findings; changes nothing but what the broker's probe publishes to itself."""
    checks: tuple[tuple[str, Check], ...] = (
        ("Postgres", lambda s: postgres.check(stores.postgres_dsn(s))),
        (TABLES, lambda s: _tables(s, catalog)),
        ("Graph", lambda s: graph.check(resolve_graph(s, endpoints(s.home)))),
        (mqtt.PART, lambda s: mqtt.check(stores.mqtt(s), _shared(catalog, None))),
        *(_broker(name, catalog) for name in _connections(catalog)),
        (doctor_prefect.PART, lambda s: doctor_prefect.check(s, catalog)),
    )
    robots = asyncio.ensure_future(_robots(settings, catalog))
    database, tables, *others = await asyncio.gather(
        *(_guarded(part, check, settings) for part, check in checks)
    )
    if database[0].level is Level.UNREACHABLE and tables[0].level is Level.UNREACHABLE:
        tables = (Finding(TABLES, Level.UNREACHABLE, "not looked at, Postgres is away."),)
    services = chain(database, tables, *others)
    found = [*_catalog(catalog), *services, *await robots, *_ended(settings.home)]
    return [*found, *machine.check(settings.home)]


async def _robots(settings: Settings, catalog: Catalog) -> tuple[Finding, ...]:
    """Off for a while is ordinary: its runs are read when it is back, those that it still has."""
    fix = "Switch it on, or correct its URL in HEADWATER_ROBOTS; it keeps its last 20 runs."
    return tuple(
        Finding(
            f"Robot {robot.name}", Level.UNREACHABLE, f"it does not answer: {robot.reason.rstrip('.')}.", fix
        )
        if robot.reason
        else Finding(f"Robot {robot.name}", Level.OK, f"it answers and keeps {robot.runs} runs")
        for robot in await robots_seen(settings, catalog)
    )


def _catalog(catalog: Catalog) -> Iterator[Finding]:
    """What is left out of it; the others run."""
    fix = "Mend it, and start the processes again: each reads the catalog once."
    for each in catalog.broken:
        yield Finding(CATALOG, Level.PROBLEM, each.why, fix)
    if not catalog.broken:
        triggers = f" and {counted(len(catalog.triggers), 'trigger')}" if catalog.triggers else ""
        yield Finding(CATALOG, Level.OK, f"{counted(len(catalog.pipelines), 'pipeline')}{triggers} read")


def _ended(home: Path) -> Iterator[Finding]:
    """Processes of ours that `headwater up` started and nobody stopped."""
    for name, log in ended(home).items():
        if name in PROCESSES:
            sentence = f"it ended by itself, see {near(log)}."
            yield Finding(f"headwater {name}", Level.PROBLEM, sentence, "`headwater up` starts it again.")


def _broker(connection: str, catalog: Catalog) -> tuple[str, Check]:
    """The check of a named connection's broker."""
    part = f"{mqtt.PART} {connection}"
    return part, lambda s: mqtt.check(stores.mqtt(s, connection), _shared(catalog, connection), part)


def _connections(catalog: Catalog) -> list[str]:
    """The named connections of brokers that pipelines read from."""
    sources = [pipeline.source for pipeline in catalog.pipelines.values()]
    return sorted({each.connection for each in sources if isinstance(each, MqttOptions) and each.connection})


def _shared(catalog: Catalog, connection: str | None) -> list[str]:
    """The pipelines whose listeners share one subscription of the broker."""
    sources = {name: pipeline.source for name, pipeline in catalog.pipelines.items()}
    return [
        name
        for name, source in sources.items()
        if isinstance(source, MqttOptions) and source.group and source.connection == connection
    ]


async def _guarded(part: str, check: Check, settings: Settings) -> tuple[Finding, ...]:
    try:
        return await check(settings)
    except (SettingsError, UnavailableError) as error:
        return (away(part, error),)
    except HeadwaterError as error:
        return (Finding(part, Level.PROBLEM, str(error)),)


async def _tables(settings: Settings, catalog: Catalog) -> tuple[Finding, ...]:
    async with stores.open_store(settings, "doctor") as store:
        lacking = await missing_ahead(store.pool, catalog.contracts.values(), datetime.now(UTC))
        silent = await absent(store.pool, SILENT)
        full = at_limit(catalog, await open_rejected(store.pool))
        left = await not_taken(store.pool)
    findings = [_absent(each) for each in silent]
    findings += _not_taken(left)
    findings += [Finding(REJECTED, Level.PROBLEM, *said.split(". ", 1)) for said in full]
    if lacking:
        sentence = f"no partition for tomorrow: {', '.join(lacking)}"
        findings.append(Finding(TABLES, Level.PROBLEM, sentence, "Run `headwater run partitions`."))
    findings = findings or [Finding(TABLES, Level.OK, "partitions are there for the days to come")]
    return (*findings, *await doctor_keys.check(settings))


def _not_taken(files: Sequence[NotTaken]) -> Iterator[Finding]:
    """One finding for each pipeline's folder."""
    fix = "Those still being written are taken by themselves; rename, mend or remove the others."
    for pipeline, group in groupby(files, key=lambda each: each.pipeline):
        held = list(group)
        named = "; ".join(f"{each.path}: {each.why}" for each in held[:FILES])
        more = f"; and {len(held) - FILES:,} more" if len(held) > FILES else ""
        sentence = f"{pipeline} leaves in its folder: {named}{more}"
        yield Finding("Files", Level.WARNING, sentence, fix)


def _absent(listener: Absent) -> Finding:
    if listener.pipeline.startswith(READER):
        sentence = f"{listener.pipeline} is away since {listener.seen_at:%Y-%m-%d %H:%M} UTC"
        return Finding("Triggers", Level.WARNING, sentence, _SERVE.format(listener.client_id))
    slot = listener.client_id.rpartition("-")[2]
    sentence = f"listener {listener.client_id} is away since {listener.seen_at:%Y-%m-%d %H:%M} UTC"
    fix = (
        f"The broker keeps its share of the messages: start it again with HEADWATER_SLOT={slot}, or empty it "
        f"for good by `HEADWATER_SLOT={slot} headwater listen --pipeline {listener.pipeline} --drain`."
    )
    return Finding("Listeners", Level.WARNING, sentence, fix)
