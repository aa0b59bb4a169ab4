"""`headwater graph`: the graph as a whole."""

from dataclasses import asdict
from typing import Annotated

import typer

from console.cli.exits import DIFFERENCES
from console.cli.start import run, start
from console.cli.table import Json, print_json, say

commands = typer.Typer(help="The graph as a whole: make it again, compare two states.", no_args_is_help=True)

STATE = "A time (ISO 8601), a version (sensors@…), or a pipeline: what today's code says."
Before = Annotated[str, typer.Argument(metavar="A", help=STATE)]
After = Annotated[str, typer.Argument(metavar="B", help=STATE)]


@commands.command()
def rebuild() -> None:
    """Empty the graph and make it again from the record in Postgres."""
    settings = start()
    from console.asked.whole_graph import rebuild as rebuilding

    say(f"carried {run(rebuilding(settings)):,} entries of the record")


@commands.command()
def diff(before: Before, after: After, as_json: Json = False) -> None:
    """What changes in the columns from A to B, and what is made of them; exit status 1 if anything does.

    For example, before merging: headwater graph diff sensors@1f2e3d4c5b6a7980 sensors
    """
    settings = start()
    from console.asked.whole_graph import difference
    from flows import catalog

    found = run(difference(settings, catalog.read(settings), before, after))
    changes = found.changes
    if as_json:
        print_json({**asdict(changes), "reached": found.reached})
    else:
        for sign, pairs in (("+", changes.added), ("-", changes.removed), ("~", changes.changed)):
            for pair in pairs:
                say(f"{sign} {pair.source} → {pair.target}")
        for column in found.reached:
            say(f"! {column} is made of what changes")
        say(
            f"{len(changes.added)} added, {len(changes.removed)} removed, {len(changes.changed)} changed, "
            f"{len(found.reached)} columns reached"
        )
    if changes.targets:
        raise typer.Exit(DIFFERENCES)
