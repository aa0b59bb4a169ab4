"""The command line, `headwater COMMAND`: one file per group of commands; `commands.py` lists them."""

import sys

import typer

from console.cli.commands import HELP, OnDemand
from console.cli.exits import guarded
from infra import private

app = typer.Typer(
    name="headwater",
    cls=OnDemand,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=HELP,
)


@app.callback()
def headwater() -> None:
    """Moves lab data into Postgres and commits its lineage with it."""


def main() -> None:
    """The console script."""
    private.by_default()
    sys.exit(guarded(app))
