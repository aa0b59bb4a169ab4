"""The stream: messages drained from a persistent session by one listener, against a bare paho loop.

Both sessions hold the same messages, and are drained one after the other, each by a process of its own.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from infra.postgres import connect
from tests.bench.figure import Figure, figure, in_turns
from tests.bench.readings import Quality, payloads, readings
from tests.bench.services import Services
from tests.bench.sizes import Sizes
from tests.bench.wire import Blast, Message, forget, keep_for

FILTER = "sensors/+/readings"
OURS, PAHO = "headwater-sensors-0", "bench-paho"
AGAINST = "a bare paho loop (MQTT 3.1.1, manual_ack)"

Taken = tuple[float, float]
"""Messages a second, and microseconds of CPU for each."""


class Stream:
    """A broker whose two persistent sessions are filled with the same messages and drained."""

    def __init__(
        self,
        services: Services,
        messages: list[Message],
        database: Callable[[], AbstractAsyncContextManager[str]] | None = None,
        held: int = 0,
    ) -> None:
        """`database`: makes the one that is written to, which holds `held` readings already."""
        self.services, self.messages = services, messages
        self.database, self.held = database or services.database, held

    def fill(self, *client_ids: str) -> None:
        url = self.services.broker.url
        for client_id in client_ids:
            keep_for(url, client_id, FILTER)
        blast = Blast(url)
        blast.send(self.messages)
        blast.finish()

    async def ours(self, *options: str, again: bool = False) -> Taken:
        """One listener, everything on, into a new database; `again`: a second time, all of it redelivered."""
        async with self.database() as dsn:
            taken = await self._drain(dsn, options)
            if again:
                self.fill(OURS)
                taken = await self._drain(dsn, ("--repeated", *options))
            await self.check(dsn, twice=again)
            return taken

    async def _drain(self, dsn: str, options: tuple[str, ...]) -> Taken:
        return await self._run("listener", "sensors", str(len(self.messages)), *options, dsn=dsn)

    async def paho(self) -> Taken:
        url = self.services.broker.url
        taken = await self._run("paho_loop", url, PAHO, str(len(self.messages)), dsn="")
        forget(url, PAHO)
        return taken

    async def _run(self, module: str, *arguments: str, dsn: str) -> Taken:
        found = await self.services.result(module, *arguments, dsn=dsn)
        return len(self.messages) / found["seconds"], found["cpu"] / len(self.messages) * 1e6

    async def check(self, dsn: str, *, twice: bool = False) -> None:
        """What was measured is only worth something if it was all stored or rejected, once."""
        connection = await connect(dsn, application="bench")
        stored = await connection.fetchval("SELECT count(*) FROM store.sensor_readings")
        refused = await connection.fetchval("SELECT count(*) FROM store.rejected")
        read = await connection.fetchval("SELECT sum(read) FROM store.ledger")
        await connection.close()
        count = len(self.messages)
        if (stored + refused, read) != (self.held + count, count * (1 + twice)):
            raise RuntimeError(f"read {read} messages, stored {stored} rows and rejected {refused}")


async def measure(services: Services, sizes: Sizes) -> AsyncIterator[Figure]:
    """The rate and the CPU of good messages, then the rate of bad and redelivered ones against good ones."""
    good = Stream(services, payloads(readings(sizes.messages)))
    taken: dict[str, list[Taken]] = {"ours": [], "paho": []}
    for turn in range(sizes.rounds):
        good.fill(OURS, PAHO)
        for who in ("ours", "paho") if turn % 2 == 0 else ("paho", "ours"):
            taken[who].append(await (good.ours() if who == "ours" else good.paho()))
    (rate, cpu), (paho_rate, paho_cpu) = (zip(*taken[who], strict=True) for who in ("ours", "paho"))
    yield figure("mqtt", rate, "messages/s", reference=paho_rate, against=AGAINST, target="≥ 4")
    yield figure("mqtt cpu", cpu, "µs/message", reference=paho_cpu, against=AGAINST, target="≤ 0.3")
    for name, quality, target in _STORMS:
        stream = Stream(services, payloads(readings(sizes.messages), quality))
        yield await _against_good(name, stream, good, sizes, target)
    yield await _against_good("mqtt redelivered", good, good, sizes, "≥ 0.5", again=True)


_STORMS: tuple[tuple[str, Quality, str], ...] = (
    ("mqtt 1 % bad", "one in a hundred bad", "≥ 0.8"),
    ("mqtt 100 % bad", "bad", "≥ 0.3"),
)


async def _against_good(
    name: str, stream: Stream, good: Stream, sizes: Sizes, target: str, *, again: bool = False
) -> Figure:
    async def rate_of(which: Stream, again: bool) -> float:
        which.fill(OURS)
        return (await which.ours(again=again))[0]

    ours, reference = await in_turns(
        sizes.rounds, lambda: rate_of(stream, again), lambda: rate_of(good, again=False)
    )
    return figure(name, ours, "messages/s", reference=reference, against="good messages", target=target)
