"""How a listener's rate grows: with more listeners, more devices, and more rows stored before."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, time, timedelta
from functools import partial

import polars as pl

from infra.postgres import open_pool
from lineage.naming import postgres
from tasks.tables.partitions import Partitions
from tests.bench.figure import Figure, figure, in_turns
from tests.bench.mqtt import FILTER, OURS, Stream
from tests.bench.readings import payloads, readings
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.bench.stored import BATCH, insert_readings
from tests.bench.wire import Blast, forget, keep_for
from tests.fixtures.commit import CONTRACT

GROUP = "bench"
LISTENERS = (1, 2, 4)
TIMES = (1, 10, 100)
UNIT = "messages/s"
_SEEN = f"""
INSERT INTO store.subjects SELECT 'device', device_id, '{postgres(CONTRACT.table)}' FROM store.devices
"""


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """The rate of each size against that of the smallest."""
    async for each in _by_listeners(services, sizes):
        yield each
    async for each in _by_devices(services, sizes):
        yield each
    async for each in _by_rows(services, sizes):
        yield each


async def _by_listeners(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    stream = Stream(services, payloads(readings(sizes.few)))
    found = await in_turns(sizes.rounds, *(partial(_shared, stream, count) for count in LISTENERS))
    for count, ours in zip(LISTENERS[1:], found[1:], strict=True):
        yield figure(f"{count} listeners", ours, UNIT, reference=found[0], against="one listener")


async def _by_devices(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """Of devices that were seen before; then of as many that were not, each a new subject of the lineage."""
    counts = [sizes.devices // 100, sizes.devices, sizes.devices * 100]
    streams = []
    async with AsyncExitStack() as opened:
        for count in counts:
            dsn = await opened.enter_async_context(services.database(devices=count))
            services.psql(dsn, _SEEN)
            messages = payloads(readings(sizes.few, devices=count))
            streams.append(Stream(services, messages, database=partial(services.database, like=dsn)))
        unseen = Stream(services, messages, database=partial(services.database, devices=count))
        *found, new = await in_turns(sizes.rounds, *(partial(_drained, each) for each in (*streams, unseen)))
    for count, ours in zip(counts[1:], found[1:], strict=True):
        against = f"{counts[0]:,} devices"
        yield figure(f"{count:,} devices", ours, UNIT, reference=found[0], against=against)
    title, against = f"{counts[-1]:,} devices, first seen", "the same, seen before"
    yield figure(title, new, UNIT, reference=found[-1], against=against)


async def _by_rows(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """The new readings go to the same partition as those that are stored, after them."""
    noon = datetime.combine(datetime.now(UTC) - timedelta(days=1), time(12), UTC)
    messages = payloads(readings(sizes.few, until=noon))
    counts = [sizes.held * times for times in TIMES]
    async with services.database() as one, services.database() as ten, services.database() as hundred:
        streams = []
        for dsn, held in zip((one, ten, hundred), counts, strict=True):
            await _hold(services, dsn, held, noon - timedelta(hours=12), timedelta(hours=11))
            database = partial(services.database, like=dsn)
            streams.append(Stream(services, messages, database=database, held=held))
        found = await in_turns(sizes.rounds, *(partial(_drained, stream) for stream in streams))
    for count, ours in zip(counts[1:], found[1:], strict=True):
        against = f"{counts[0]:,} rows stored before"
        yield figure(f"{count:,} rows stored", ours, UNIT, reference=found[0], against=against)


async def _drained(stream: Stream) -> float:
    stream.fill(OURS)
    return (await stream.ours())[0]


async def _shared(stream: Stream, count: int) -> float:
    """Messages a second of so many listeners together, from the first one's begin to the last one's end."""
    services, clients = stream.services, [f"headwater-{slot}" for slot in range(count)]
    url, each = services.broker.url, len(stream.messages) // count
    for client in clients:
        keep_for(url, client, f"$share/{GROUP}/{FILTER}")
    blast = Blast(url)
    blast.send(stream.messages)
    blast.finish()
    async with stream.database() as dsn:
        with ExitStack() as running:
            listeners = [
                running.enter_context(
                    services.child(
                        *("listener", "sensors", str(each), "--wait", "--group", GROUP),
                        dsn=dsn,
                        HEADWATER_SLOT=str(slot),
                    )
                )
                for slot in range(count)
            ]
            seconds = await _together(services, listeners)
        await stream.check(dsn)
    for client in clients:
        forget(url, client)
    return len(stream.messages) / seconds


async def _together(services: Services, listeners: Sequence[subprocess.Popen[str]]) -> float:
    """Let them begin at once, and wait for all; seconds from the first begin to the last end."""
    for each in listeners:
        await services.ready(each)
    for each in listeners:
        assert each.stdin is not None
        each.stdin.write("begin\n")
        each.stdin.flush()
    found = await asyncio.gather(*(services.ended(each, "listener") for each in listeners))
    return max(one["since"] + one["seconds"] for one in found) - min(one["since"] for one in found)


async def _hold(services: Services, dsn: str, rows: int, since: datetime, span: timedelta) -> None:
    """Store readings as if batches had brought them."""
    async with open_pool(dsn, application="bench", statement_timeout_ms=0) as pool:
        await Partitions(pool).ensure(CONTRACT, pl.Series([since]))
        async with pool.acquire() as connection:
            await insert_readings(connection, rows, since, span)
        await pool.execute("SELECT setval('store.batch_number', $1)", rows // BATCH + 1)
    services.psql(dsn, "VACUUM ANALYZE")
