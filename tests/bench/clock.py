"""`headwater listen` as it is, with a clock: from the first look at its source to the last PUBACK."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

from flows.catalog import Pipeline
from flows.stream import side_by_side
from flows.stream.listener import Listener
from infra.settings import Settings
from tasks.batch import RawBatch, Receipt
from tasks.transform.place import PlaceFinder
from tests.fixtures.catalogs import pipeline


class Clock(Listener):
    """Ends the process once it has seen `wanted` records."""

    wanted = 0
    repeated = waits = False
    read = 0
    began = cpu = since = 0.0

    async def run(self, coming: AsyncIterator[RawBatch], stop: asyncio.Event) -> None:
        self.done: list[tuple[int, float]] = []
        await asyncio.to_thread(PlaceFinder().warm)  # once in a listener's life, with its first coordinates
        print(json.dumps({"ready": True}), flush=True)
        if self.waits:
            await asyncio.to_thread(sys.stdin.readline)
        Clock.since, Clock.began, Clock.cpu = time.time(), time.perf_counter(), time.process_time()
        await super().run(_repeated(coming) if self.repeated else coming, stop)

    def _report(self, receipt: Receipt) -> None:
        super()._report(receipt)
        self.done.append((receipt.batch, time.time()))
        self.read += receipt.read
        if self.read >= self.wanted:
            seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
            found = {"since": self.since, "seconds": seconds, "cpu": cpu, "batches": self.done}
            print(json.dumps(found), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)


async def _repeated(coming: AsyncIterator[RawBatch]) -> AsyncIterator[RawBatch]:
    """As the broker marks what it sends again: DUP."""
    async for batch in coming:
        yield replace(batch, may_repeat=True)


def _prepared(name: str, connections: int, group: str | None) -> Pipeline:
    """A file is taken at once, where it would otherwise have to lie still for a second."""
    found = pipeline(name)
    changes: dict[str, object] = {}
    if found.source.type == "files":
        changes = {"settle": timedelta(0), "poll": timedelta(milliseconds=10), "connections": connections}
    elif group is not None:
        changes = {"group": group}
    return found.model_copy(update={"source": found.source.model_copy(update=changes)})


def measure(
    settings: Settings,
    name: str,
    wanted: int,
    *,
    repeated: bool = False,
    waits: bool = False,
    connections: int = 1,
    group: str | None = None,
) -> None:
    """Listen until `wanted` records are read; prints what it took, and when each batch was done.

    `waits`: it begins when it is sent a line.
    """
    Clock.wanted, Clock.repeated, Clock.waits = wanted, repeated, waits
    side_by_side.Listener = Clock  # type: ignore[misc]
    asyncio.run(side_by_side.listen(settings, [_prepared(name, connections, group)]))
