"""Latencies at a steady rate: publish → committed and acknowledged, committed → answerable in the graph.

A message counts from when it was meant to be published: a publisher that is held up hides nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

from infra.postgres import connect
from tests.bench.figure import Figure, figure, percentile
from tests.bench.mqtt import FILTER, OURS
from tests.bench.readings import payloads, readings
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.bench.wire import BURST, Blast, keep_for

WARM_UP = 15
"""Seconds at the same rate before what is measured: a new graph server compiles itself first."""
AHEAD = timedelta(seconds=2)
"""From making the messages to publishing the first."""
_BEHIND = """
SELECT (SELECT coalesce(sum(total), 0) FROM (SELECT total FROM store.lineage_seals
            JOIN store.relay_cursors USING (seal)) AS carried) < (SELECT count(*) FROM store.lineage_log)
"""


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """p50 and p99 in milliseconds; every round has a database, a listener and a relay of its own."""
    rounds = [await _round(services, sizes) for _ in range(sizes.rounds)]
    named = (("publish to committed", "≤ 100 ms"), ("committed to in the graph", "≤ 1,000 ms"))
    for at, (name, target) in enumerate(named):
        for share in (0.50, 0.99):
            found = [percentile(each[at], share) * 1000 for each in rounds]
            title = f"{name}, p{share * 100:.0f} at {sizes.rate:,}/s"
            yield figure(title, found, "ms", target=target if share > 0.5 else "")


async def _round(services: Services, sizes: Sizes) -> tuple[list[float], list[float]]:
    """Seconds of each message until its commit, and of each batch from there until it was in the graph."""
    count = sizes.rate * (WARM_UP + sizes.seconds)
    keep_for(services.broker.url, OURS, FILTER)
    async with services.graph(), services.database() as dsn:
        with (
            services.child("listener", "sensors", str(count), dsn=dsn) as listener,
            services.child("carrier", dsn=dsn) as carrier,
        ):
            for child in (listener, carrier):
                await services.ready(child)
            await asyncio.to_thread(_publish, services.broker.url, sizes.rate, count)
            committed = _moments(await services.ended(listener, "listener"))
            published = _in_bursts(await _meant_once_carried(dsn), sizes.rate)
            carrier.terminate()
            carried = _moments(await services.ended(carrier, "carrier"))
    begin = min(at for _, at in published) + WARM_UP
    messages = [committed[batch] - at for batch, at in published if at >= begin]
    return messages, [carried[batch] - at for batch, at in committed.items() if at >= begin]


def _publish(url: str, rate: int, count: int) -> None:
    begin = datetime.now(UTC) + AHEAD
    rows = readings(count, until=begin + timedelta(seconds=count / rate), step=timedelta(seconds=1 / rate))
    messages, blast = payloads(rows), Blast(url)
    time.sleep(max(0.0, (begin - datetime.now(UTC)).total_seconds()))
    blast.steady(messages, rate)
    blast.finish()


def _in_bursts(published: list[tuple[int, float]], rate: int) -> list[tuple[int, float]]:
    """Readings are spread evenly over time, and leave together with the first of their burst."""
    began, size = min(at for _, at in published), round(rate * BURST)
    return [(batch, began + round((at - began) * rate) // size * BURST) for batch, at in published]


def _moments(found: Mapping[str, list[tuple[int, float]]]) -> dict[int, float]:
    return {int(batch): float(at) for batch, at in found["batches"]}


async def _meant_once_carried(dsn: str) -> list[tuple[int, float]]:
    """Batch of each message, and when it was meant to be published; once the relay has caught up."""
    connection = await connect(dsn, application="bench")
    rows = await connection.fetch(
        "SELECT batch, extract(epoch FROM timestamp)::float8 AS at FROM store.sensor_readings"
    )
    while await connection.fetchval(_BEHIND):  # noqa: ASYNC110 - another process carries
        await asyncio.sleep(0.1)
    await connection.close()
    return [(row["batch"], row["at"]) for row in rows]
