"""`headwater run`: one flow, now, in this process."""

from typing import Annotated

import typer

from console.start import pairs, start_prefect
from console.start import run as run_to_end

Name = Annotated[str, typer.Argument(metavar="PIPELINE", help="A flow of prefect.yaml, e.g. experiments.")]
Values = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="A parameter; repeatable.")]


def run(pipeline: Name, values: Values = []) -> None:  # noqa: B006 - typer's way to say "none given"
    """Run a flow once and print what became of it."""
    start_prefect()
    from flows import registry

    flow = registry.load_flow(pipeline)
    typer.echo(run_to_end(flow(**registry.parameters(flow, dict(pairs(values, "--set"))))))
