"""`python -m tests.chaos --cycles 200 --seed 7`: break, count, and print one JSON object.

Exit status 1 when anything was lost, duplicated or cannot be proven.
"""

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.chaos import count
from tests.chaos.faults import Faults
from tests.chaos.outbox import Outbox
from tests.chaos.readings import Readings
from tests.chaos.rig import Rig, a_rig, running

HEADWATER = str(Path(sys.executable).with_name("headwater"))
LONGEST_PAUSE = 1.0  # seconds between two faults
PATIENCE = 120.0  # seconds for the broker to acknowledge, and for the relay to catch up


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # what was started is ended
    root = Path(tempfile.mkdtemp(prefix="headwater chaos "))
    with a_rig(root, options.downloads, options.graph) as rig:
        figures = _measure(rig, options)
    failed = any(figures[name] for name in ("lost", "duplicated", "unproven"))
    if failed:
        print(f"Everything is kept in {root}.", file=sys.stderr)
    else:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(figures), flush=True)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--cycles", type=int, default=200, help="how many faults")
    parser.add_argument("--seed", type=int, default=7, help="which faults, and which readings")
    parser.add_argument("--rate", type=int, default=400, help="readings a second")
    parser.add_argument("--graph", default="embedded", choices=("embedded", "neo4j"))
    parser.add_argument("--downloads", type=Path, default=Path(".headwater/downloads"))
    return parser.parse_args()


def _measure(rig: Rig, options: argparse.Namespace) -> dict[str, int]:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    readings = Readings(options.seed, start)
    outbox = Outbox(running(rig.broker).port, readings, options.rate)
    rig.snapshot()
    outbox.start()
    _break(rig, outbox, options)
    outbox.finish(PATIENCE)
    rig.drain()
    return {"cycles": options.cycles, "published": outbox.published, **_count(rig, outbox, readings)}


def _break(rig: Rig, outbox: Outbox, options: argparse.Namespace) -> None:
    """One fault per cycle, each told on stderr; then how often each came to pass."""
    chance = random.Random(options.seed)  # noqa: S311 -- not a secret
    done = Counter[str]()
    with Faults(rig, outbox, chance) as faults:
        for cycle in range(1, options.cycles + 1):
            time.sleep(chance.uniform(0, LONGEST_PAUSE))
            fault, began = faults.draw(), time.monotonic()
            name = fault.name if fault.strike() else f"{fault.name} (not reached)"
            done[name] += 1
            print(f"{cycle:4} {name} {time.monotonic() - began:.1f} s", file=sys.stderr)
        faults.wait_for_all()
    print(json.dumps(dict(sorted(done.items()))), file=sys.stderr)
    print(f"published again for want of a subscriber: {outbox.dropped}", file=sys.stderr)


def _count(rig: Rig, outbox: Outbox, readings: Readings) -> dict[str, int]:
    expected = count.Expected(readings, outbox.acknowledged)
    found = asyncio.run(count.find(rig.environment["HEADWATER_POSTGRES_DSN"], expected))
    verdict = expected.verdict(found)
    without_lineage = _caught_up(rig, found)
    _, proof = rig.run(HEADWATER, "prove", "--full", "--json", log="prove")
    return {
        "stored": verdict.stored,
        "rejected": verdict.rejected,
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "unproven": without_lineage + count.differences(proof),
    }


def _caught_up(rig: Rig, found: count.Found) -> int:
    """The rows without lineage once the relay has caught up."""
    deadline = time.monotonic() + PATIENCE
    while (left := count.unproven(rig.environment, found)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


if __name__ == "__main__":
    sys.exit(main())
