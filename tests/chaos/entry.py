"""Commands that die at the worst moment: `python -m tests.chaos.entry listen --pipeline sensors-kafka`.

The commands themselves, with the functions on either side of each moment wrapped. The moment named in the
file `moment` of this process's directory comes true once: whoever reaches it removes the file, and dies.
Their pipelines are those in CHAOS_PIPELINES, which a fault may tighten.
"""

import argparse
import os
import select
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from console.cli.exits import guarded
from console.cli.start import run, start, start_prefect
from infra.settings import Settings
from lineage.errors import UnavailableError

MOMENT = "moment"
HELD = "held"  # it has come, and whoever reached it waits
GROUP = "chaos"
UNANSWERED = "unanswered"

COMMIT = {
    "copied": "the rows are copied, nothing else is written",
    "uncommitted": "everything is written, the COMMIT is not sent",
    "committed": "the COMMIT is answered, and the source not: no acknowledgement, offset, or archive",
    UNANSWERED: "committed, but the answer to the COMMIT is lost; it does not die",
}
LISTEN = COMMIT | {
    "acknowledged": "the acknowledgements are handed to the network; the file is in the archive",
}
RELAY = {
    "sealed": "sealed, and not in the graph",
    "written": "in the graph, and the cursor not moved",
}
OF_A_FILE = {
    "opened": "it is open and locked, not a byte is read",
    "hashed": "it is read once, hashed and cut into parts",
    "read": "a part is read again, as what was hashed, and not committed",
    "stored": "every part is committed, and it is not archived",
}
"""At these the listener does not die: it waits while somebody edits the file."""
SERVE = COMMIT | {"paged": "between two pages of a run"}


def hold(moment: str, name: str) -> None:
    """Wait here, if it is this moment's turn for a file of that name, until the file `held` is taken away."""
    trigger, held = Path.cwd() / MOMENT, Path.cwd() / HELD
    if not trigger.exists() or trigger.read_text() != f"{moment} {name}":
        return
    trigger.rename(held)
    while held.exists():
        select.select([], [], [], 0.01)  # under libfaketime time.sleep fails


def reach(moment: str) -> None:
    """Die here if it is this moment's turn; of `unanswered`, raise as a lost connection does."""
    trigger = Path.cwd() / MOMENT
    if not trigger.exists() or trigger.read_text() != moment:
        return
    trigger.unlink()
    if moment == UNANSWERED:
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


def wrap_commit() -> None:
    """The moments of a commit; `remember` is called, not awaited, once a COMMIT is answered."""
    from tasks.load import commit

    function = commit.remember

    def remember(*arguments: Any) -> None:
        reach("committed")
        reach(UNANSWERED)
        function(*arguments)

    wrap(commit, "write_raw", before="copied")
    wrap(commit, "write_books", after="uncommitted")
    commit.remember = remember


def wrap_pages() -> None:
    """The moment before any page of a run's commands but the first."""
    from tasks.extract import opentrons

    function = opentrons._get_known

    async def get_known(client: Any, robot: Any, path: str, params: Any = None) -> Any:
        if params and 0 < params["cursor"] < opentrons.PAST_THE_END:
            reach("paged")
        return await function(client, robot, path, params)

    opentrons._get_known = get_known


def wrap_files() -> None:
    """The moments in the life of one file; what is not taken is told more often."""
    from tasks.extract import teller
    from tasks.extract.file_watch import FileWatch
    from tasks.extract.taken import Opened, Taken

    surveyed, batch, archive = Opened.surveyed, Taken.batch, FileWatch._archive

    def held_surveyed(self: Opened) -> Any:
        hold("opened", self.name)
        found = surveyed(self)
        hold("hashed", self.name)
        return found

    def held_batch(self: Taken, *arguments: Any) -> Any:
        hold("read", self.opened.name)
        return batch(self, *arguments)

    async def held_archive(self: FileWatch, name: str) -> None:
        if self._lives[name].may_be_archived(time.monotonic()):
            hold("stored", name)
        await archive(self, name)

    teller.TELL_EVERY = 2.0
    Opened.surveyed = held_surveyed  # type: ignore[method-assign]
    Taken.batch = held_batch  # type: ignore[method-assign]
    FileWatch._archive = held_archive  # type: ignore[method-assign]


def listen(settings: Settings, pipeline: str, *, leave: bool) -> None:
    """`headwater listen`, sharing its broker's stream with others."""
    from flows import catalog
    from flows.stream import listener
    from flows.stream import side_by_side as stream
    from tasks.extract.mqtt import MqttOptions

    wrap_commit()
    wrap(listener, "ingest", after="acknowledged")
    wrap_files()
    chosen = catalog.read(settings).pipeline(pipeline)
    if isinstance(chosen.source, MqttOptions):
        shared = chosen.source.model_copy(update={"group": GROUP})
        chosen = chosen.model_copy(update={"source": shared})
    run(stream.listen(settings, [chosen], leave=leave))


def relay(settings: Settings) -> None:
    """`headwater relay`, with anchors close in time."""
    from flows import catalog
    from flows import relay as relaying
    from lineage import graph

    relaying.ANCHOR_EVERY = 1.0
    wrap(graph, "write", before="sealed", after="written")
    run(relaying.relay(settings, catalog.read(settings)))


def serve(settings: Settings) -> None:
    """`headwater serve`, with small pages, and less patience with what was killed."""
    from flows import catalog
    from flows.worker import serve as worker
    from flows.worker import warm
    from tasks.extract.opentrons import RobotOptions

    options = RobotOptions(page_length=20, revise_every=timedelta(seconds=1), poll_every=timedelta(seconds=5))
    known = catalog.read(settings)
    robots = known.pipeline("experiments").model_copy(update={"source": options})
    known = replace(known, pipelines={**known.pipelines, robots.name: robots})
    catalog.read = lambda _settings: known
    warm.TERM, warm.RENEW_EVERY, worker.RECOVER_EVERY = timedelta(seconds=6), 2.0, 3.0
    warm.CLAIMED_FOR = timedelta(seconds=10)
    wrap_commit()
    wrap_pages()
    run(worker.serve(settings, known))


def refresh(settings: Settings) -> None:
    """What the flow `aggregates` does; its exit status is that of a command, e.g. 3: a service is away."""
    from flows import catalog
    from flows.acts.aggregates import refresh_all
    from lineage.model import Run

    now = datetime.now(UTC)
    by = Run(id=uuid4(), kind="command", name="aggregates", started_at=now)
    sys.exit(guarded(lambda: run(refresh_all(settings, catalog.read(settings), by))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("listen", "relay", "serve", "refresh"))
    parser.add_argument("--pipeline", default="sensors")
    parser.add_argument("--drain", action="store_true")
    given = parser.parse_args()
    settings = start_prefect() if given.command == "serve" else start()
    from flows.catalog import folders

    folders.SHIPPED = Path(os.environ["CHAOS_PIPELINES"])  # type: ignore[misc]
    if given.command == "listen":
        listen(settings, given.pipeline, leave=given.drain)
    else:
        {"relay": relay, "serve": serve, "refresh": refresh}[given.command](settings)


if __name__ == "__main__":
    main()
