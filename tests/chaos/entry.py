"""`listen` and `relay` that die at the worst moment once they are told to: `python -m tests.chaos.entry listen`.

The commands themselves, with the functions on either side of each moment wrapped. The moment named in the file
`moment` of this process's directory comes true once: whoever reaches it removes the file, and dies.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from console.start import run, start
from infra.settings import Settings
from lineage.errors import UnavailableError

MOMENT = "moment"
GROUP = "chaos"

LISTEN = {
    "copied": "the rows are copied, nothing else is written",
    "uncommitted": "everything is written, the COMMIT is not sent",
    "committed": "the COMMIT is answered, the broker's messages are not acknowledged",
    "unanswered": "committed, but the answer to the COMMIT is lost; it does not die",
    "acknowledged": "the acknowledgements are handed to the network",
}
RELAY = {
    "sealed": "sealed, and not in the graph",
    "written": "in the graph, and the cursor not moved",
}

Function = Callable[..., Any]


def reach(moment: str) -> None:
    """Die here if it is this moment's turn; of `unanswered`, raise as a lost connection does."""
    trigger = Path.cwd() / MOMENT
    if not trigger.exists() or trigger.read_text() != moment:
        return
    trigger.unlink()
    if moment == "unanswered":
        raise UnavailableError("Postgres", "the answer to COMMIT was lost")
    os.kill(os.getpid(), signal.SIGKILL)


def before(moment: str, function: Callable[..., Awaitable[Any]]) -> Function:
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        reach(moment)
        return await function(*arguments, **named)

    return wrapped


def after(moment: str, function: Callable[..., Awaitable[Any]]) -> Function:
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        found = await function(*arguments, **named)
        reach(moment)
        return found

    return wrapped


def listen(settings: Settings, *, leave: bool) -> None:
    """`headwater listen`, sharing its stream with others."""
    from flows.catalog import pipeline
    from flows.listen import listen as listening
    from tasks.load import commit

    def committed(*arguments: Any) -> None:
        for moment in ("committed", "unanswered"):
            reach(moment)
        remember(*arguments)

    remember = commit.committed
    commit.committed = committed
    commit.write_raw = before("copied", commit.write_raw)
    commit.write_books = after("uncommitted", commit.write_books)
    _die_after_acknowledging()
    sensors = pipeline("sensors")
    shared = sensors.source.model_copy(update={"group": GROUP})
    run(listening(settings, sensors.model_copy(update={"source": shared}), leave=leave))


def _die_after_acknowledging() -> None:
    from flows import listen as stream

    stream.ingest = after("acknowledged", stream.ingest)


def relay(settings: Settings) -> None:
    """`headwater relay`."""
    from flows.relay import relay as relaying
    from lineage import graph

    graph.write = after("written", before("sealed", graph.write))
    run(relaying(settings))


def main(command: str, *options: str) -> None:
    settings = start()
    if command == "listen":
        listen(settings, leave="--drain" in options)
    else:
        relay(settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
