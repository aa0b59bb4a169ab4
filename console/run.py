"""`headwater run`: one flow, now, in this process."""

from typing import Annotated

import typer

from console.start import pairs, start, start_prefect
from console.start import run as run_to_end
from console.table import say

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="Which flow of prefect.yaml, or which pipeline that is asked; none lists them."
    ),
]
Values = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A parameter; experiments takes robot, and experiment_id for one run of it.",
    ),
]


def run(name: Name = None, values: Values = []) -> None:  # noqa: B006 - typer's way to say "none given"
    """Run a flow once, now, and print what became of it; without a name, list what can be run.

    Example: headwater run experiments --set robot=ot2 --set experiment_id=UUID
    """
    if name is None:
        _list()
        return
    settings = start_prefect()
    from flows import catalog, registry, stores
    from flows.ours import Installation

    known = catalog.read(settings)
    flow = registry.load_flow(name, known)
    given = registry.parameters(name, known, dict(pairs(values, "--set")))
    registry.check(given, settings)
    run_to_end(stores.prepare_tables(settings, ()))
    with run_to_end(Installation.of(settings)).marking():
        say(run_to_end(flow(**given)))


def _list() -> None:
    settings = start()
    from flows import catalog, registry

    for name, what in registry.descriptions(catalog.read(settings)).items():
        say(f"{name:<18} {what}")
