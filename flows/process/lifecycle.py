"""What every long-lived process shares: it ends on SIGTERM or SIGINT, and serves /metrics and /health."""

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from flows.catalog import Broken
from infra import metrics_server
from infra.metrics_server import Health
from infra.settings import Settings

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class State:
    """What a process tells about itself at /health; the server's thread only reads it."""

    state: str = "starting"
    ok: bool = False
    last_operation: str = ""
    last_at: datetime | None = None
    facts: dict[str, str] = field(default_factory=dict)

    def running(self, state: str) -> None:
        self.state, self.ok = state, True

    def failing(self, state: str) -> None:
        """At work, and not getting on: somebody has to look."""
        self.state, self.ok = state, False

    def did(self, operation: str, **facts: object) -> None:
        """The last thing that was done, and now."""
        self.last_operation, self.last_at = operation, datetime.now(UTC)
        self.facts = {**self.facts, **{name: str(value) for name, value in facts.items()}}

    def tell(self, name: str, value: str) -> None:
        """A fact that stands until it is told otherwise."""
        self.facts = {**self.facts, name: value}

    def health(self) -> Health:
        detail: Mapping[str, str] = {
            "state": self.state,
            "last_operation": self.last_operation,
            "last_at": self.last_at.isoformat() if self.last_at else "",
            **self.facts,
        }
        return Health(ok=self.ok, detail=detail)


def health_of(states: Mapping[str, State], told: Mapping[str, str]) -> Health:
    """Several states of one process as one: what each does by its name, and what was done last."""
    if len(states) == 1:
        (one,) = states.values()
        alone = one.health()
        return Health(ok=alone.ok, detail={**alone.detail, **told})
    doing = {name: state.state for name, state in states.items()}
    newest = max(states.values(), key=lambda state: state.last_at or _NEVER)
    return Health(
        ok=all(state.ok for state in states.values()),
        detail={**newest.health().detail, "state": _summary(doing), **doing, **told},
    )


def _summary(doing: Mapping[str, str]) -> str:
    """What all do, or what those do that are not just listening."""
    if "starting" in doing.values():
        return "starting"
    if len(set(doing.values())) == 1:
        return next(iter(doing.values()))
    return "; ".join(f"{name}: {what}" for name, what in doing.items() if what != "listening")


def left_out(broken: Sequence[Broken]) -> dict[str, str]:
    """What /health says of what is left out of the catalog, which is logged too."""
    for each in broken:
        log.warning("left out of the catalog", why=each.why)
    return {f"left out: {each.name}": each.why for each in broken}


@contextmanager
def stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; what is under way is then brought to its end."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextmanager
def observed(settings: Settings, health: Callable[[], Health]) -> Iterator[str]:
    """Serve /metrics, the sum over all processes of this home, and /health; yields the address."""
    with metrics_server.serve(
        settings.metrics_directory,
        host=settings.metrics_host,
        port=settings.metrics_port,
        health=health,
    ) as address:
        log.info("serving /metrics and /health", address=address)
        yield address


async def until(stop: asyncio.Event, items: AsyncIterator[Item]) -> AsyncGenerator[Item, None]:
    """The items until `stop` is set; an item that came is not dropped."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        while True:
            following = asyncio.ensure_future(anext(items, None))
            try:
                await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not following.done():  # told to stop, or cancelled: nobody may go on asking the items
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
            item = None if following.cancelled() else following.result()
            if item is None:
                return
            yield item
    finally:
        stopping.cancel()


@asynccontextmanager
async def set_by(stop: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """An event of one's own, that `stop` sets too."""
    own = asyncio.Event()

    async def follow() -> None:
        await stop.wait()
        own.set()

    following = asyncio.create_task(follow())
    try:
        yield own
    finally:
        following.cancel()


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, or until `stop` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None], grace: float = 0.0) -> None:
    """Do the work to its end; once `stop` is set it has `grace` more seconds before it is cancelled.

    Work that nobody told to stop and that is cancelled raises CancelledError: it must not look done.
    """
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({working}, timeout=grace)
    finally:
        stopping.cancel()
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    if not (stop.is_set() and working.cancelled()):
        working.result()


async def beside(work: Coroutine[Any, Any, None], watch: Coroutine[Any, Any, None]) -> None:
    """Do the work while a watch without end looks on; an error of either ends both and is raised as it is."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(watch)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Do them at the same time; the first error ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
