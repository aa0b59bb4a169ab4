"""`headwater prove`: everything stored against the record against the graph."""

from dataclasses import asdict

import typer
from rich.console import Console

from console.start import DIFFERENCES, run, start
from console.table import Json, print_json


def prove(as_json: Json = False) -> None:
    """Prove that Postgres, the lineage log and the graph agree; exit status 1 where they differ."""
    settings = start()
    from flows.proof import prove as proving

    with Console(stderr=True).status("proving") as status:
        proof = run(proving(settings, lambda what, done: status.update(f"proving: {done:,} {what}")))
    if as_json:
        print_json(asdict(proof))
    else:
        for difference in proof.differences:
            typer.echo(difference)
        typer.echo(proof.sentence)
    if not proof.ok:
        raise typer.Exit(DIFFERENCES)
