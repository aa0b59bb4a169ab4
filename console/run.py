"""`headwater run`: one flow, now, in this process."""

from typing import Annotated

import typer

from console.start import pairs, start_prefect
from console.start import run as run_to_end

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="experiments, aggregates, partitions, proof or full-proof.")
]
Values = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A parameter; experiments takes robot and experiment_id.",
    ),
]


def run(name: Name, values: Values = []) -> None:  # noqa: B006 - typer's way to say "none given"
    """Run a flow of prefect.yaml once, now, and print what became of it.

    Example: headwater run experiments --set robot=ot2 --set experiment_id=UUID
    """
    settings = start_prefect()
    from flows import registry

    flow = registry.load_flow(name)
    given = registry.parameters(flow, dict(pairs(values, "--set")))
    registry.check(given, settings)
    typer.echo(run_to_end(flow(**given)))
