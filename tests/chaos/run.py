"""One run: publish, break, end, count."""

import asyncio
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lineage.errors import UnavailableError
from tests.chaos import aggregates, count, lineage, record, runs
from tests.chaos.ending import end
from tests.chaos.faults import Faults
from tests.chaos.folder import Folder
from tests.chaos.ground import Ground
from tests.chaos.outbox import Outbox
from tests.chaos.publisher import Publisher
from tests.chaos.readings import Readings
from tests.chaos.rig import HEADWATER, Rig, a_rig, running, stored_runs
from tests.chaos.topic import Topic
from tests.chaos.ways import FILES, KAFKA, MQTT, Way

LONGEST_PAUSE = 1.0  # seconds between two faults
PATIENCE = 180.0  # seconds for what was published to be taken in, and for the relay to catch up
SOAK_EVERY = 10.0  # seconds between two faults of a soak
WARM = 60.0  # seconds of a soak after which memory is looked at first


@dataclass(frozen=True, slots=True)
class Options:
    """What `make chaos` is told; see `__main__.py`."""

    cycles: int
    seed: int
    soak: float | None
    rate: int
    at_most: float | None
    longest: float
    ways: frozenset[str]
    without_graph: bool
    faults: list[str] | None
    graph: str
    downloads: Path


class Run:
    """One run; `figures` hold what is known by now, also when it ends early."""

    def __init__(self, root: Path, options: Options) -> None:
        self._root, self._options = root, options
        self.figures: dict[str, Any] = dict.fromkeys(
            ("cycles", "kills", "published", "stored", "rejected", "lost", "duplicated", "unproven"), 0
        )
        self._came, self._missed = Counter[str](), Counter[str]()  # faults, by name
        self.figures |= {"faults": self._came, "not_reached": self._missed}

    def run(self) -> None:
        """Raises what ended it early."""
        options, began = self._options, time.monotonic()
        with a_rig(self._root, options.downloads, options.graph, options.ways, options.seed) as rig:
            publishers = self._publishers(rig)
            rig.snapshot()
            if options.without_graph:
                rig.graph.stop()
            for publisher in publishers.values():
                publisher.start()
            self._break(rig, publishers)
            if options.without_graph:
                rig.graph.start()
            end(rig, [*publishers.values()], PATIENCE)
            self._count(rig, publishers)
        self.figures["seconds"] = round(time.monotonic() - began)

    def _publishers(self, rig: Rig) -> dict[Way, Publisher]:
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        options = self._options

        def readings(way: Way) -> Readings:
            return Readings(options.seed, start, way)

        made: dict[Way, Publisher] = {MQTT: Outbox(running(rig.broker).port, readings(MQTT), options.rate)}
        if rig.kafka:
            made[KAFKA] = Topic(running(rig.kafka).port, readings(KAFKA), options.rate // 2)
        if FILES.name in options.ways:
            made[FILES] = Folder(rig.root / "files", readings(FILES), options.rate // 2)
        return made

    def _break(self, rig: Rig, publishers: dict[Way, Publisher]) -> None:
        """One fault per cycle, each told on stderr."""
        options, outbox = self._options, publishers[MQTT]
        assert isinstance(outbox, Outbox)
        chance, gentle = random.Random(options.seed), options.soak is not None  # noqa: S311 -- not a secret
        without = frozenset(("graph", rig.graph.name)) if options.without_graph else frozenset[str]()
        folder = publishers.get(FILES)
        assert folder is None or isinstance(folder, Folder)
        with Ground(
            rig, outbox, chance, options.longest, gentle=gentle, without=without, folder=folder
        ) as ground:
            self.figures["did"] = ground.did
            faults = Faults(ground, options.faults)
            began, before = time.monotonic(), dict[str, float]()
            while self._goes_on(time.monotonic() - began):
                time.sleep(chance.uniform(0, 2 * SOAK_EVERY if gentle else LONGEST_PAUSE))
                self._strike(faults, ground)
                if not before and time.monotonic() - began > WARM:
                    before = _memory(rig)
                self._look(rig, publishers, ground)
            ground.wait_for_all()
            self.figures["memory_mb"] = {"start": before, "end": _memory(rig)}
            self.figures["away_mb"] = ground.memory
        print(f"published again for want of a subscriber: {outbox.dropped}", file=sys.stderr)

    def _goes_on(self, seconds: float) -> bool:
        options = self._options
        if options.soak is not None:
            return seconds < 60 * options.soak
        if options.at_most is not None and seconds >= options.at_most:
            return False
        return int(self.figures["cycles"]) < options.cycles

    def _strike(self, faults: Faults, ground: Ground) -> None:
        fault, began = faults.draw(), time.monotonic()
        reached = fault.strike()
        (self._came if reached else self._missed)[fault.name] += 1
        self.figures |= {"cycles": self.figures["cycles"] + 1, "kills": ground.kills}
        name = fault.name if reached else f"{fault.name} (not reached)"
        print(f"{self.figures['cycles']:4} {name} {time.monotonic() - began:.1f} s", file=sys.stderr)

    def _look(self, rig: Rig, publishers: dict[Way, Publisher], ground: Ground) -> None:
        """Raise what ended a process or a publisher; let the robot go on when its runs are stored."""
        ground.look()
        self.figures["published"] = sum(each.published for each in publishers.values())
        for publisher in (*publishers.values(), *([rig.player] if rig.player else [])):
            if publisher.error:
                raise publisher.error
        if rig.player and not ground.backups.held:  # it must still have what a restore loses
            with suppress(UnavailableError):  # asked again after the next fault
                rig.player.stored = stored_runs(rig)

    def _count(self, rig: Rig, publishers: dict[Way, Publisher]) -> None:
        """Of readings and of runs."""
        published = [(each.readings, each.acknowledged) for each in publishers.values()]
        folder = publishers.get(FILES)
        assert folder is None or isinstance(folder, Folder)
        odd = (
            {"drafts": folder.drafts, "poison": folder.poison, "versions": folder.versions} if folder else {}
        )
        expected = count.Expected(*published, **odd)
        found = asyncio.run(count.find(rig.dsn, expected))
        verdict = expected.verdict(found)
        played = rig.player.runs if rig.player else {}
        robot = asyncio.run(runs.count(rig.dsn, played)) if rig.player else runs.Verdict(0, 0, 0)
        wrong_files = folder.missing() + record.untold(rig, folder) if folder else 0
        self.figures |= {
            "published": len(expected.all) + len(played),
            "stored": verdict.stored + robot.stored,
            "rejected": verdict.rejected,
            "lost": verdict.lost + robot.lost + wrong_files,
            "duplicated": verdict.duplicated + robot.duplicated,
            "by_way": {way.name: each.published for way, each in publishers.items()} | {"robot": len(played)},
        }
        wrong_hours = aggregates.different(rig)
        without_lineage = _caught_up(rig, found)
        _, proof = rig.run(HEADWATER, "prove", "--full", "--json", log="prove")
        unnamed = self.figures["did"][record.RESTORED] - lineage.restores(proof)
        differences = lineage.differences(proof) + record.out_of_order(rig) + abs(unnamed)
        self.figures["unproven"] = wrong_hours + without_lineage + differences


def _memory(rig: Rig) -> dict[str, float]:
    return {entry.name: round(entry.memory, 1) for entry in rig.ours.all}


def _caught_up(rig: Rig, found: count.Found) -> int:
    """The rows without lineage once the relay has caught up."""
    deadline = time.monotonic() + PATIENCE
    while (left := lineage.unproven(rig.environment, found)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left
