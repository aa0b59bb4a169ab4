"""The command line: `headwater COMMAND`. One file per group of commands, one line here for each."""

import sys

import typer

from console import (
    audit,
    demo,
    devices,
    doctor,
    erase,
    graph,
    lineage,
    processes,
    prove,
    recall,
    rejected,
    resume,
    run,
    simulate,
    start,
    status,
    trace,
    up,
)
from infra import private

app = typer.Typer(
    name="headwater",
    help="Moves lab data into Postgres and commits its lineage with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(demo.demo)
app.command()(up.up)
app.command()(up.down)
app.command()(doctor.doctor)
app.command()(status.status)
app.command()(processes.listen)
app.command()(processes.relay)
app.command()(processes.serve)
app.command()(run.run)
app.command()(resume.resume)
app.command()(audit.audit)
app.command()(audit.query)
app.command()(prove.prove)
app.command()(trace.trace)
app.command()(recall.recall)
app.command()(erase.erase)
app.add_typer(devices.commands, name="devices")
app.add_typer(graph.commands, name="graph")
app.add_typer(lineage.commands, name="lineage")
app.add_typer(rejected.commands, name="rejected")
app.add_typer(simulate.commands, name="simulate")


def main() -> None:
    """The console script."""
    private.by_default()
    sys.exit(start.guarded(app))
