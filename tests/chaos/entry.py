"""`listen` and `relay` that die at the worst moment: `python -m tests.chaos.entry listen`.

The commands themselves, with the functions on either side of each moment wrapped. The moment named in the
file `moment` of this process's directory comes true once: whoever reaches it removes the file, and dies.
"""

import os
import signal
import sys
from pathlib import Path
from types import ModuleType
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


def reach(moment: str) -> None:
    """Die here if it is this moment's turn; of `unanswered`, raise as a lost connection does."""
    trigger = Path.cwd() / MOMENT
    if not trigger.exists() or trigger.read_text() != moment:
        return
    trigger.unlink()
    if moment == "unanswered":
        raise UnavailableError("Postgres", "the answer to COMMIT was lost")
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(module: ModuleType, name: str, *, before: str | None = None, after: str | None = None) -> None:
    """Put moments before and after an asynchronous function of a module, under the name it is called by."""
    function = getattr(module, name)

    async def wrapped(*arguments: Any, **named: Any) -> Any:
        if before:
            reach(before)
        found = await function(*arguments, **named)
        if after:
            reach(after)
        return found

    setattr(module, name, wrapped)


def wrap_committed(module: ModuleType, name: str) -> None:
    """The same for the function that is called, not awaited, once a COMMIT is answered."""
    function = getattr(module, name)

    def wrapped(*arguments: Any) -> None:
        reach("committed")
        reach("unanswered")
        function(*arguments)

    setattr(module, name, wrapped)


def listen(settings: Settings, *, leave: bool) -> None:
    """`headwater listen`, sharing its stream with others."""
    from flows import listen as stream
    from flows import listener
    from flows.catalog import pipeline
    from tasks.load import commit

    wrap(commit, "write_raw", before="copied")
    wrap(commit, "write_books", after="uncommitted")
    wrap_committed(commit, "committed")
    wrap(listener, "ingest", after="acknowledged")
    sensors = pipeline("sensors")
    shared = sensors.source.model_copy(update={"group": GROUP})
    run(stream.listen(settings, sensors.model_copy(update={"source": shared}), leave=leave))


def relay(settings: Settings) -> None:
    """`headwater relay`."""
    from flows.relay import relay as relaying
    from lineage import graph

    wrap(graph, "write", before="sealed", after="written")
    run(relaying(settings))


def main(command: str, *options: str) -> None:
    settings = start()
    if command == "listen":
        listen(settings, leave="--drain" in options)
    else:
        relay(settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
