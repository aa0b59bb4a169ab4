"""`headwater run`: one flow, now, in this process."""

from typing import Annotated

import typer

from console.cli.start import pairs, start, start_prefect
from console.cli.start import run as run_to_end
from console.cli.table import say

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
    from flows import catalog
    from flows.process import stores
    from flows.process.ours import Installation
    from flows.worker import runnable

    known = catalog.read(settings)
    flow = runnable.load_flow(name, known)
    given = runnable.parameters(name, known, dict(pairs(values, "--set")))
    runnable.check(given, settings)
    run_to_end(stores.prepare_tables(settings, ()))
    with run_to_end(Installation.of(settings)).marking():
        say(run_to_end(flow(**given)))


def _list() -> None:
    settings = start()
    from flows import catalog
    from flows.worker import runnable

    for name, what in runnable.descriptions(catalog.read(settings)).items():
        say(f"{name:<18} {what}")
