"""The memory of a listener that drains a persistent session at full rate: how high, and whether it grows."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator

import psutil

from tests.bench.figure import Figure, figure
from tests.bench.mqtt import OURS, Stream
from tests.bench.readings import payloads, readings
from tests.bench.services import Services
from tests.bench.sizes import Sizes

EVERY = 0.02  # seconds between two looks

Look = tuple[float, float]
"""Seconds since the listener began, and its resident megabytes."""


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """The highest of each drain, and the mean of its last quarter against that of its second."""
    stream = Stream(services, payloads(readings(sizes.messages)))
    drains = [await _drain(services, stream) for _ in range(sizes.rounds)]
    yield figure("memory, highest", [max(drain) for drain in drains], "MB", target="≤ 300 MB")
    ours, reference = ([_quarter(drain, number) for drain in drains] for number in (3, 1))
    against = "the second quarter of the drain"
    yield figure("memory, last quarter", ours, "MB", reference=reference, against=against, target="flat")


async def _drain(services: Services, stream: Stream) -> list[float]:
    """Megabytes, EVERY so many seconds, from the first look at the source to the last PUBACK."""
    stream.fill(OURS)
    async with stream.database() as dsn:
        with services.child("listener", "sensors", str(len(stream.messages)), dsn=dsn) as child:
            await services.ready(child)
            looks: list[Look] = []
            looking = asyncio.create_task(_look(child.pid, looks))
            found = await services.ended(child, "listener")
            looking.cancel()
        await stream.check(dsn)
    return [megabytes for at, megabytes in looks if at <= found["seconds"]]


async def _look(pid: int, looks: list[Look]) -> None:
    began, process = time.perf_counter(), psutil.Process(pid)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        looks.append((time.perf_counter() - began, process.memory_info().rss / 1e6))
        await asyncio.sleep(EVERY)


def _quarter(drain: list[float], number: int) -> float:
    """The mean of the first quarter (0) to the last (3)."""
    length = len(drain) // 4
    return statistics.fmean(drain[number * length : (number + 1) * length])
