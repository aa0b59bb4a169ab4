"""The listener of the bench: `python -m tests.bench.listener PIPELINE RECORDS [option …]`.

Prints as JSON: since when, seconds, CPU seconds, and when each batch was committed and acknowledged.
"""

import argparse

from console.cli.start import start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pipeline")
    parser.add_argument("records", type=int)
    parser.add_argument("--repeated", action="store_true")
    parser.add_argument("--wait", action="store_true", help="begin when a line comes")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--group", help="whose members share the messages")
    parser.add_argument("--without", nargs="*", default=[])
    given = parser.parse_args()
    settings = start()  # before the imports, as every command does it
    from tests.bench import clock, without

    for part in given.without:
        without.PARTS[part]()
    clock.measure(
        settings,
        given.pipeline,
        given.records,
        repeated=given.repeated,
        waits=given.wait,
        connections=given.connections,
        group=given.group,
    )


if __name__ == "__main__":
    main()
