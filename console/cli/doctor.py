"""`headwater doctor`: what is reachable, what would lose messages, and the fix for each."""

from dataclasses import asdict

import typer
from rich.console import Console

from console.cli.exits import DIFFERENCES, UNAVAILABLE
from console.cli.start import run, start_or_warn
from console.cli.table import Json, print_json
from infra.printable import printable

MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]", "unreachable": "[red]✗[/]"}


def doctor(as_json: Json = False) -> None:
    """Look at every service; exit status 1 with problems, 3 when something is not reachable."""
    settings = start_or_warn()
    from console.asked.doctor import examine
    from flows import catalog

    with Console(stderr=True).status("looking at every service"):
        findings = run(examine(settings, catalog.read(settings)))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console = Console(soft_wrap=True, highlight=False)
        for finding in findings:
            console.print(f"{MARKS[finding.level]} ", end="")
            said = f"{finding.part}: {finding.sentence} {finding.fix}"
            console.print(printable(said.strip()), markup=False)
    levels = {finding.level.value for finding in findings}
    if "unreachable" in levels:
        raise typer.Exit(UNAVAILABLE)
    if "problem" in levels:
        raise typer.Exit(DIFFERENCES)
