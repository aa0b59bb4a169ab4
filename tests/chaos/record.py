"""What befalls the record itself: a restored backup, numbers that are given twice, clocks that disagree."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import psutil

from tests.chaos import clock
from tests.chaos.folder import Folder
from tests.chaos.ground import Fault, Ground, comes
from tests.chaos.process import Entry, home
from tests.chaos.rig import HEADWATER, Rig, running, stored_runs
from tests.chaos.ways import KAFKA, MQTT

DAY = 86_400  # seconds
RESTORED = "restores accepted"
SHOWN = 9  # numbers of batches in a sentence
SHARE = 10  # the sequence is set back to below this part of what it was
LATER = 20  # batches at least that a restore loses
CORRECTED = "SELECT count(*) FROM store.sequence_corrections WHERE sequence = 'store.batch_number'"
NEWEST = "SELECT coalesce(max(batch), 0) FROM store.ledger"
BATCHES = """
SELECT batch FROM store.ledger
WHERE batch NOT IN (SELECT batch FROM store.ledger_outputs WHERE bucket IS NOT NULL)
"""
A_DAY_AHEAD = "SELECT count(*) FROM store.ledger WHERE received_at > now() + interval '12 hours'"
COMMITTED_AHEAD = "SELECT count(*) FROM store.ledger WHERE processed_at > now()"
CARRIED = """
SELECT s.total = (SELECT count(*) FROM store.lineage_log)
    AND s.seal = (SELECT max(seal) FROM store.relay_cursors WHERE sink = 'graph')
FROM store.lineage_seals s ORDER BY s.seal DESC LIMIT 1
"""
SEAL = "SELECT max(seal) FROM store.lineage_seals"
IN_GRAPH = "SELECT count(*) FROM store.relay_cursors WHERE sink = 'graph' AND seal > 0"
TOLD = "SELECT batch FROM store.lost_batches WHERE found_at >= to_timestamp({since})"
UNTOLD = "SELECT path FROM store.files_not_taken"
SEALS_BACK = """
SELECT count(*) FROM (SELECT sealed_at <= lag(sealed_at) OVER (ORDER BY seal) AS wrong
    FROM store.lineage_seals) s WHERE wrong
"""
REIGNS_BACK = """
SELECT count(*) FROM (
    SELECT created_at <= lag(created_at) OVER (ORDER BY (facts->>'reign')::bigint) AS wrong
    FROM store.lineage_log WHERE relationship_type = 'SUPERSEDES') r
WHERE wrong
"""


def of_records(ground: Ground) -> list[Fault]:
    """A restore needs the graph, which knows what is lost."""
    faults = [Fault("sequence behind", 2, partial(set_back, ground))]
    if ground.rig.graph.name not in ground.without:
        again = partial(restore, ground)
        faults.append(Fault("restore in the middle", 2, again, ahead=partial(back_up, ground)))
    seconds = [ground.rig.ours.listeners[way][1] for way in (MQTT, KAFKA) if way in ground.rig.ours.listeners]
    if seconds and all(entry.jumps for entry in seconds):
        faults.append(Fault("clocks a day apart", 2, partial(apart, ground, seconds)))
    return faults


def set_back(ground: Ground) -> bool:
    """The sequence of batch numbers, as after a failover: whoever takes the next number sets it right."""
    rig = ground.rig
    ground.wait_for_all()
    comes(lambda: int(rig.sql(NEWEST)) > SHARE)  # before that the sequence cannot be behind
    before, newest = int(rig.sql(CORRECTED)), int(rig.sql(NEWEST))
    low = ground.chance.randint(1, max(1, newest // SHARE))
    rig.sql(f"SELECT setval('store.batch_number', {low})")
    reached = comes(lambda: int(rig.sql(CORRECTED)) > before)
    ground.did["sequences set right"] += reached
    return reached


def apart(ground: Ground, seconds: list[Entry]) -> bool:
    """The clock of one of two listeners of a stream is a day ahead, until its next start or jump.

    What it receives bears its time, what it commits Postgres'.
    """
    entry = ground.chance.choice(seconds)
    ground.wait_for(ground.rig.postgres)
    ground.wait_for(entry)
    before = int(ground.rig.sql(A_DAY_AHEAD))
    clock.jump(entry.clock, DAY)
    reached = comes(lambda: int(ground.rig.sql(A_DAY_AHEAD)) > before)
    ground.did[f"batches of {entry.name} a day ahead"] += reached
    return reached


def back_up(ground: Ground) -> None:
    """Some cycles before a restore."""
    if not ground.backups.held:
        ground.wait_for(ground.rig.postgres)
        # Before the graph is told anything it does not show that it was this store's.
        comes(lambda: ground.rig.sql(IN_GRAPH) == "1")
        ground.backups.take()


def restore(ground: Ground) -> bool:
    """Postgres is as it was some cycles ago; what is gone is told, accepted, and sent again by who has it.

    Listeners are frozen meanwhile, so that what was committed is known to the last batch; they live on with
    all that they believe.
    """
    rig = ground.rig
    ground.wait_for_all()
    newest = int(rig.sql(NEWEST))
    comes(lambda: int(rig.sql(NEWEST)) > newest + LATER)
    if rig.player:
        comes(lambda: stored_runs(rig) > ground.backups.runs)
    with _frozen(rig):
        if not comes(lambda: rig.sql(CARRIED) == "t" and _anchored(rig) == int(rig.sql(SEAL))):
            raise RuntimeError("The relay does not carry and anchor all while nothing is committed.")
        before, runs, since = _batches(rig), stored_runs(rig), time.time()
        rig.postgres.stop()
        ground.backups.put_back()
        rig.postgres.start()
        lost, lost_runs = before - _batches(rig), runs - stored_runs(rig)
    ground.outbox.all_again()
    if ground.folder:
        ground.folder.again_since(ground.backups.taken_at)
    comes(lambda: lost <= _told(rig, since))
    status, _ = rig.run(HEADWATER, "restored", "--reason", "chaos", "--json", log="restored")
    if status or (told := _told(rig, since)) != lost:
        raise RuntimeError(
            f"Of {len(lost)} lost batches are not told: {_some(lost - told)}; told, and not lost, are: "
            f"{_some(told - lost)}."
        )
    ground.did["batches lost by restores, and told"] += len(lost)
    ground.did["ended robot runs lost by restores"] += len(lost_runs)
    ground.did[RESTORED] += 1
    return True


@contextmanager
def _frozen(rig: Rig) -> Iterator[None]:
    """Whoever commits, with all their child processes."""
    entries = [entry for entry in rig.ours.all if entry is not rig.ours.relay]
    parents = [psutil.Process(running(entry).pid) for entry in entries]
    processes = [each for parent in parents for each in (parent, *parent.children(recursive=True))]
    try:
        for each in processes:
            each.suspend()
        yield
    finally:
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.resume()


def _anchored(rig: Rig) -> int:
    """The newest seal that the anchors vouch for."""
    anchors = (home(rig.root) / "anchors.ndjson").read_text().splitlines()
    return int(json.loads(anchors[-1])["seal"]) if anchors else 0


def _batches(rig: Rig) -> set[int]:
    """Of the ledger, but for those that computed hours anew: an hour has no number in the graph."""
    return {int(line) for line in rig.sql(BATCHES).split()}


def _some(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)[:SHOWN])) or "none"


def _told(rig: Rig, since: float) -> set[int]:
    """The numbers of the batches that were noted as lost since (seconds since 1970 UTC)."""
    keys = rig.sql(TOLD.format(since=since)).splitlines()
    ends = (key.rsplit("#", 1)[1] for key in keys)
    return {int(end) for end in ends if end.isdigit()}


def out_of_order(rig: Rig) -> int:
    """How often the record's own times go back or are to come, whatever listeners' clocks say."""
    return sum(int(rig.sql(question)) for question in (SEALS_BACK, REIGNS_BACK, COMMITTED_AHEAD))


def untold(rig: Rig, folder: Folder) -> int:
    """How many files that are not taken nobody is told of; the listener, which would, has ended."""
    return len(folder.untaken - {*rig.sql(UNTOLD).splitlines()})
