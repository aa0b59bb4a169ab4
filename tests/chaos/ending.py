"""The end of a run: nothing new is published, and what was is taken in to the last one."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from infra.local.service import LocalService
from tests.chaos.folder import Folder
from tests.chaos.publisher import Publisher
from tests.chaos.rig import Rig, stored_runs
from tests.chaos.topic import Topic
from tests.chaos.ways import MQTT

READ = "SELECT coalesce(sum(mark::bigint), 0) FROM store.progress WHERE dataset LIKE 'kafka%' AND part <> ''"


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
            _wait_for_none(publisher.left, "files are not archived", patience)
        elif isinstance(publisher, Topic):
            _wait_for_none(lambda: publisher.records - int(rig.sql(READ)), "messages are not read", patience)  # noqa: B023
    if rig.player:
        runs = rig.player.runs.keys()
        _wait_for_none(lambda: len(runs - stored_runs(rig)), "runs are not stored", patience)
    listeners = [each for group in rig.ours.listeners.values() for each in group]
    with ThreadPoolExecutor(len(listeners)) as together:
        list(together.map(LocalService.stop, listeners))
        list(together.map(rig.drain, range(MQTT.listeners)))


def _wait_for_none(left: Callable[[], int], what: str, patience: float) -> None:
    """Wait for as long as it becomes less; what is left after that is for the count to tell."""
    least, deadline = left(), time.monotonic() + patience
    while least > 0 and time.monotonic() < deadline:
        time.sleep(0.5)
        if (now := left()) < least:
            least, deadline = now, time.monotonic() + patience
    if least > 0:
        print(f"{least} {what}, and for {patience:.0f} s none was.")
