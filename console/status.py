"""`headwater status`: what each part did last, its state, how far behind it is, and the settings."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from console.start import UNAVAILABLE, run, start_or_warn
from console.table import Json, print_json

if TYPE_CHECKING:
    from flows.status import Status


def status(as_json: Json = False) -> None:
    """Show every part's last operation, state and lag, and the settings without secrets."""
    settings = start_or_warn()
    from flows.status import status as asked

    found = run(asked(settings))
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)
    if found.postgres != "ok":
        raise typer.Exit(UNAVAILABLE)


def _print(found: "Status") -> None:
    _title("Processes")
    for part in found.parts:
        told = ", ".join(f"{name}: {value}" for name, value in part.detail.items() if value not in ("", True))
        typer.echo(f"  {part.name:<10} {part.state:<18} {told}")
    _title("Stored")
    if found.postgres != "ok":
        typer.echo(f"  {found.postgres}")
    for each in found.datasets:
        typer.echo(
            f"  {each.name:<32} {each.batches:,} batches, the last {_ago(each.last_commit)}; "
            f"in the last hour {each.read:,} read, {each.rejected:,} rejected"
        )
    if found.relay_lag_entries is not None:
        oldest = f", the oldest {_ago(found.relay_oldest)}" if found.relay_oldest else ""
        typer.echo(f"  {found.relay_lag_entries:,} lineage entries are not in the graph yet{oldest}")
        typer.echo(f"  {found.rejected_open:,} rejected records wait for a person")
    _title("Flow runs")
    if found.prefect != "ok":
        typer.echo(f"  {found.prefect}")
    for run_ in found.flow_runs:
        typer.echo(f"  {run_.flow:<20} {run_.state:<12} by {run_.started_by:<9} {_ago(run_.started_at)}")
    _title("Settings")
    for name, value in found.settings.items():
        if value:
            typer.echo(f"  {name} = {value}")


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    return f"{max(0.0, (datetime.now(UTC) - moment).total_seconds()):.0f} s ago"


def _title(text: str) -> None:
    typer.secho(text, bold=True)
