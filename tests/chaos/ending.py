"""The end of a run: nothing new is published, and what was is taken in to the last one."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from infra.local.service import LocalService
from tests.chaos.folder import Folder
from tests.chaos.publisher import Publisher
from tests.chaos.rig import Rig
from tests.chaos.topic import Topic
from tests.chaos.ways import MQTT

READ = "SELECT coalesce(sum(next), 0) FROM store.kafka_offsets"
ENDED = "SELECT count(*) FROM experiments WHERE status IN ('succeeded', 'failed')"


def end(rig: Rig, publishers: Sequence[Publisher], patience: float) -> None:
    """Publish no more, wait until everything is taken in, and end what takes it in."""
    for publisher in publishers:  # all at once: one may take long, and the others would publish on
        publisher.publish_no_more()
    for publisher in publishers:
        publisher.finish(patience)
    if rig.player:
        rig.player.play_no_more(patience)
    for publisher in publishers:
        if isinstance(publisher, Folder):
            _until(lambda: publisher.left() == 0, "archived every file", patience)  # noqa: B023
        elif isinstance(publisher, Topic):
            _until(lambda: int(rig.sql(READ)) >= publisher.records, "read the topic", patience)  # noqa: B023
    if rig.player:
        runs = len(rig.player.runs)
        _until(lambda: stored_runs(rig) >= runs, "stored every run", patience)
    listeners = [each for group in rig.ours.listeners.values() for each in group]
    with ThreadPoolExecutor(len(listeners)) as together:
        list(together.map(LocalService.stop, listeners))
        list(together.map(rig.drain, range(MQTT.listeners)))


def stored_runs(rig: Rig) -> int:
    """How many of the robot's runs are stored with their end."""
    if rig.sql("SELECT to_regclass('experiments') IS NULL") == "t":
        return 0
    return int(rig.sql(ENDED))


def _until(done: Callable[[], bool], what: str, patience: float) -> None:
    """Wait for it; what is missing after that is for the count to tell."""
    deadline = time.monotonic() + patience
    while not done() and time.monotonic() < deadline:
        time.sleep(0.5)
    if not done():
        print(f"Nobody has {what} in {patience:.0f} s.")
