"""`headwater restored`: a backup was restored, and what is lost by it is accepted."""

from dataclasses import asdict
from typing import Annotated

import typer

from console.cli.start import run, start
from console.cli.table import Json, print_json, say
from infra.local.user import user_name
from lineage.counted import counted

Reason = Annotated[str, typer.Option(help="Why; with it the loss is accepted, and kept with the act.")]
By = Annotated[str | None, typer.Option(help="Who says so; without it, the user of this machine.")]


def restored(reason: Reason = "", by: By = None, as_json: Json = False) -> None:
    """Tell what was lost when a backup was restored; with a --reason accept it, and proofs go on.

    Every proof names it from then on: this is not taken back.
    """
    settings = start()
    from console.asked.restored import restored as accepted

    done = run(accepted(settings, reason=reason, by_whom=by or user_name()))
    if as_json:
        print_json(asdict(done))
        return
    say(f"Gone are the seals after {done.gap.kept}, up to {done.gap.lost} at least.")
    for each in done.known:
        say(
            f"{each.dataset}: {each.batches:,} batch(es) that only the graph knew, "
            f"{counted(each.rows or 0, 'row')}, {counted(len(each.positions), 'position')}"
        )
    if not done.graph:
        say("The graph is away, or another one: it did not tell what it knew.", err=True)
    if done.act is None:
        say("Nothing was changed; a --reason accepts it.")
    else:
        say(f"Accepted by batch {done.act}; every proof names it from now on.")
