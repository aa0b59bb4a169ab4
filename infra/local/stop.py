"""`python -m infra.local.stop`: stop every local service recorded under a directory."""

import argparse
from pathlib import Path

from infra.local.registry import stop_all


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.local.stop", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(".headwater"), help="directory of all local data")
    for name in stop_all(parser.parse_args(arguments).root):
        print(f"stopped {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
