"""`python -m tests.bench [NAME …]`: one line per figure of this machine, all in `.headwater/bench.json`."""

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import (
    columns,
    cost,
    files,
    graph,
    growth,
    kafka,
    latency,
    memory,
    mqtt,
    reads,
    relay,
    robot,
    trace,
    trigger,
)
from tests.bench.figure import Figure, machine
from tests.bench.services import ROOT, Services, services
from tests.bench.sizes import Sizes

RESULTS = ROOT / ".headwater" / "bench.json"

FIGURES: Mapping[str, Callable[[Services, Sizes], AsyncIterator[Figure]]] = {
    "mqtt": mqtt.measure,
    "kafka": kafka.measure,
    "memory": memory.measure,
    "growth": growth.measure,
    "files": files.measure,
    "cost": cost.measure,
    "latency": latency.measure,
    "relay": relay.measure,
    "robot": robot.measure,
    "trigger": trigger.measure,
    "reads": reads.measure,
    "graph": graph.measure,
    "trace": trace.measure,
    "columns": columns.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}; none: all")
    for size in dataclasses.fields(Sizes):
        parser.add_argument(f"--{size.name}", type=int, default=size.default)
    given = vars(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers end with us
    names = given.pop("names") or list(FIGURES)
    if unknown := set(names) - set(FIGURES):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}: choose from {', '.join(FIGURES)}")
    found = asyncio.run(_measure(names, Sizes(**given)))
    _keep(found, RESULTS)


async def _measure(names: Sequence[str], sizes: Sizes) -> list[Figure]:
    print(f"on {machine()}", flush=True)
    found = []
    with services() as running:
        for name in names:
            async for each in FIGURES[name](running, sizes):
                print(each.line(), flush=True)
                found.append(each)
    return found


def _keep(found: Sequence[Figure], path: Path) -> None:
    """Replace what was measured now, keep what was not."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    new = {each.name: dataclasses.asdict(each) for each in found}
    every = {each["name"]: each for each in kept} | new
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(list(every.values()), indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
