"""`headwater resume`: flow runs that failed for good, run again with the same parameters."""

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from console.cli.exits import DIFFERENCES
from console.cli.start import run, start_prefect
from console.cli.table import Json, print_json, print_table, say

if TYPE_CHECKING:
    from flows.worker.resume import FailedRun

NOTHING: Final = "No flow run waits to be resumed."
_COLUMNS: Final = ("flow", "name", "ended_at", "parameters", "reason")

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]…", help="Only runs of these names; none: all.")
]
Listing = Annotated[bool, typer.Option("--list", help="Only list them.")]


def resume(chosen: Names = None, listing: Listing = False, as_json: Json = False) -> None:
    """Run again, here and now, the flow runs that failed and whose work no later run has done.

    A step is tried several times first; a run stands here when that did not help. One that was cancelled is
    listed too, and run only when it is named.
    """
    settings = start_prefect()
    from flows.process.ours import Installation
    from flows.worker.resume import failed_runs
    from flows.worker.resume import resume as again

    waiting = run(failed_runs(run(Installation.of(settings))))
    found = [each for each in waiting if not chosen or each.name in chosen]
    if listing:
        _print(found, as_json)
        return
    ended = [(each, run(again(each))) for each in found if chosen or not each.cancelled]
    if as_json:
        print_json([_row(each) | {"state": state.value} for each, state in ended])
    for each, state in ended:
        say(f"{each.flow} {each.name}: {state.value.lower()}", err=as_json)
    if not ended:
        say(NOTHING, err=True)
    if any(state.value != "COMPLETED" for _, state in ended):
        raise typer.Exit(DIFFERENCES)


def _print(found: "list[FailedRun]", as_json: bool) -> None:
    rows = [_row(each) for each in found]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(_COLUMNS, ([*row.values()] for row in rows))
    else:
        say(NOTHING, err=True)


def _row(failed: "FailedRun") -> dict[str, object]:
    parameters = json.dumps(failed.parameters)
    return dict(
        zip(_COLUMNS, (failed.flow, failed.name, failed.ended_at, parameters, failed.reason), strict=True)
    )
