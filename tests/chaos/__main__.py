"""`python -m tests.chaos --cycles 200 --seed 7`: break, count, and print one JSON object.

Exit status 1 when anything was lost, duplicated or cannot be proven, when a process ended by itself, or when
nothing was published or stored; 2 when what is asked for cannot be done.
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos.faults import UnknownFaultError
from tests.chaos.run import Options, Run
from tests.chaos.ways import MQTT, ROBOT, WAYS

BAD = ("lost", "duplicated", "unproven")


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # what was started is ended
    root = Path(tempfile.mkdtemp(prefix="headwater chaos "))
    run = Run(root, options)
    try:
        run.run()
    except UnknownFaultError as error:
        shutil.rmtree(root, ignore_errors=True)
        print(error, file=sys.stderr)
        return 2
    except Exception as error:  # noqa: BLE001 -- whatever ended it is the reason that is told
        traceback.print_exc()
        run.figures["reason"] = f"{type(error).__name__}: {error}"
    figures = run.figures
    if idle := [name for name in ("published", "stored") if not figures[name]]:
        figures.setdefault("reason", f"Nothing was {idle[0]}.")
    figures["ok"] = "reason" not in figures and not any(figures[name] for name in BAD)
    if figures["ok"]:
        shutil.rmtree(root, ignore_errors=True)
    else:
        print(f"Everything is kept in {root}.", file=sys.stderr)
    print(json.dumps(figures), flush=True)
    return 0 if figures["ok"] else 1


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--cycles", type=int, default=200, help="how many faults")
    parser.add_argument("--seed", type=int, default=7, help="which faults, and which readings")
    parser.add_argument("--soak", type=float, help="minutes, without faults that end a process of ours")
    parser.add_argument(
        "--rate", type=int, default=100, help="readings a second over MQTT; half by Kafka, files"
    )
    parser.add_argument("--at-most", type=float, help="seconds of breaking, however many cycles that gives")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds of what is away for long")
    parser.add_argument("--ways", nargs="+", default=[*WAYS, ROBOT], choices=[*WAYS, ROBOT])
    parser.add_argument(
        "--faults", nargs="+", metavar="NAME", help='none but these, e.g. "kill mqtt0" "mqtt1 at committed"'
    )
    parser.add_argument("--without-graph", action="store_true", help="the graph is away until the end")
    parser.add_argument("--graph", default="embedded", choices=("embedded", "neo4j"))
    parser.add_argument("--downloads", type=Path, default=Path(".headwater/downloads"))
    given = vars(parser.parse_args())
    if MQTT.name not in given["ways"]:
        parser.error(f"--ways must name {MQTT.name}, which several faults are of: add it.")
    return Options(**{**given, "ways": frozenset(given["ways"])})


if __name__ == "__main__":
    sys.exit(main())
