"""`python -m infra.local.provision NAME…`: install or download what these need, without starting them."""

import argparse
import sys
from pathlib import Path

from infra.local.services import service
from lineage.errors import HeadwaterError


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 1 with one sentence that says what to install."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.provision", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help="e.g. mosquitto neo4j")
    parser.add_argument("--root", type=Path, default=Path(".headwater"), help="directory of all local data")
    chosen = parser.parse_args(arguments)
    try:
        for name in chosen.names:
            service(name, chosen.root).provision()
    except HeadwaterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
