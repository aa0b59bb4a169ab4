"""`headwater listen` as it is, with a clock: from the first look at its source to the last PUBACK."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

from flows import listen
from flows.catalog import Pipeline, pipeline
from flows.listener import Listener
from infra.settings import Settings
from tasks.batch import RawBatch, Receipt


class Clock(Listener):
    """Ends the process once it has seen `wanted` records."""

    wanted = 0
    repeated = False
    read = 0
    began = cpu = 0.0

    async def run(self, coming: AsyncIterator[RawBatch], stop: asyncio.Event) -> None:
        Clock.began, Clock.cpu = time.perf_counter(), time.process_time()
        self.done: list[tuple[int, float]] = []
        print(json.dumps({"ready": True}), flush=True)
        await super().run(_repeated(coming) if self.repeated else coming, stop)

    def _report(self, receipt: Receipt) -> None:
        super()._report(receipt)
        self.done.append((receipt.batch, time.time()))
        self.read += receipt.read
        if self.read >= self.wanted:
            seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
            print(json.dumps({"seconds": seconds, "cpu": cpu, "batches": self.done}), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)


async def _repeated(coming: AsyncIterator[RawBatch]) -> AsyncIterator[RawBatch]:
    """As the broker marks what it sends again: DUP."""
    async for batch in coming:
        yield replace(batch, may_repeat=True)


def _prepared(name: str, connections: int) -> Pipeline:
    """A file is taken at once, where it would otherwise have to lie still for a second."""
    found = pipeline(name)
    if found.source.type != "files":
        return found
    now = {"settle": timedelta(0), "poll": timedelta(milliseconds=10), "connections": connections}
    return found.model_copy(update={"source": found.source.model_copy(update=now)})


def measure(
    settings: Settings, name: str, wanted: int, *, repeated: bool = False, connections: int = 1
) -> None:
    """Listen until `wanted` records are read; prints what it took, and when each batch was done."""
    Clock.wanted, Clock.repeated = wanted, repeated
    listen.Listener = Clock  # type: ignore[misc]
    asyncio.run(listen.listen(settings, _prepared(name, connections)))
