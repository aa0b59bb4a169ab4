"""`headwater prove`: everything stored against the record against the graph."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from console.start import DIFFERENCES, run, start

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def prove(as_json: Json = False) -> None:
    """Prove that Postgres, the lineage log and the graph agree; exit status 1 where they differ."""
    settings = start()
    from flows.proof import prove as proving

    with Console(stderr=True).status("proving") as status:
        proof = run(proving(settings, lambda what, done: status.update(f"proving: {done:,} {what}")))
    if as_json:
        typer.echo(json.dumps(asdict(proof)))
    else:
        for difference in proof.differences:
            typer.echo(difference)
        typer.echo(
            f"{proof.batches:,} batches, {proof.rows:,} rows, {proof.rejected:,} rejected records, "
            f"{proof.edges:,} edges: " + (f"{proof.total:,} differences" if proof.total else "no difference")
        )
    if not proof.ok:
        raise typer.Exit(DIFFERENCES)
