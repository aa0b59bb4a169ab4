"""`headwater status`: what each part did last, its state, how far behind it is, and the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from console.cli.exits import UNAVAILABLE
from console.cli.start import run, start_or_warn
from console.cli.starting import TITLES
from console.cli.table import Json, print_json, say
from lineage.counted import counted

if TYPE_CHECKING:
    from console.asked.status import Status
    from tasks.look.not_taken import NotTaken

NOT_FACTS: Final = frozenset({"ok", "last_operation", "last_at", "key"})
FILES: Final = 20  # that are not taken, shown by name
UNITS: Final = (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0))


def status(as_json: Json = False) -> None:
    """Show every part's last operation, state and lag, the addresses and what is set, without secrets."""
    settings = start_or_warn()
    from console.asked.status import status as asked
    from flows import catalog

    found = run(asked(settings, catalog.read(settings)))
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)
    if found.postgres != "ok":
        raise typer.Exit(UNAVAILABLE)


def _print(found: "Status") -> None:
    _title("Processes")
    for part in found.parts:
        say(f"  {TITLES[part.name]:<18} {part.state:<18} {_told(part.detail)}".rstrip())
    if found.broken:
        _title("Left out of the catalog")
    for sentence in found.broken:
        say(f"  {sentence}")
    _title("Stored")
    _print_stored(found)
    _title("Flow runs")
    if not found.flow_runs:
        say(f"  {'none yet' if found.prefect == 'ok' else found.prefect}")
    for run_ in found.flow_runs:
        say(f"  {run_.flow:<18} {run_.state:<18} by {run_.started_by:<9} {ago(run_.started_at)}")
    if found.robots:
        _title("Robots")
    for robot in found.robots:
        said = f"away: {robot.reason}" if robot.reason else f"answers, keeps {counted(robot.runs, 'run')}"
        say(f"  {robot.name:<18} {said}")
    if found.triggers:
        _title("Triggers")
    for each in found.triggers:
        waits = f", {each.waiting:,} wait, the oldest came {ago(each.since)}" if each.waiting else ""
        said = f"{counted(each.events, 'event')}, {each.started:,} started"
        say(f"  {each.name:<18} {said}{waits}")
    _title("Addresses")
    for name, address in found.addresses.items():
        say(f"  {name:<18} {address}")
    _title("Settings of this call (a process has those it was started with)")
    for name, value in found.settings.items():
        say(f"  {name} = {value}")
    if not found.settings:
        say("  none")


def _told(detail: Mapping[str, Any]) -> str:
    """What a process told about itself: the last thing it did, when, and the facts that go with it."""
    facts = {name: value for name, value in detail.items() if name not in NOT_FACTS and value != ""}
    said = [str(facts.pop("reason"))] if "reason" in facts else []
    if operation := detail.get("last_operation"):
        said.append(f"last {operation} {ago(datetime.fromisoformat(detail['last_at']))}")
    return ", ".join([*said, *(f"{name} {value}" for name, value in facts.items())])


def _print_stored(found: "Status") -> None:
    if found.postgres != "ok":
        say(f"  {found.postgres}")
    elif not found.datasets:
        say("  nothing yet")
    for each in found.datasets:
        say(
            f"  {each.name:<32} last commit {ago(each.last_commit)}; in the last hour "
            f"{counted(each.batches, 'batch')}, {each.read:,} read, {each.rejected:,} rejected"
        )
    if found.relay_lag_entries is not None:
        oldest = f", the oldest {ago(found.relay_oldest)}" if found.relay_oldest else ""
        say(f"  {found.relay_lag_entries:,} lineage entries are not in the graph yet{oldest}")
        rejected = counted(found.rejected_open or 0, "rejected record")
        rejected += " waits" if found.rejected_open == 1 else " wait"
        say(f"  {rejected} for a person")
    for entry in found.relay_unshown:
        say(f"  in no graph: {entry}")
    for sentence in found.at_limit:
        say(f"  {sentence}")
    _print_not_taken(found.not_taken)


def _print_not_taken(files: "Sequence[NotTaken]") -> None:
    if files:
        _title("Files in folders that are not taken")
    for each in files[:FILES]:
        say(f"  {each.pipeline} {each.path}: {each.why} ({ago(each.since)})")
    if len(files) > FILES:
        say(f"  and {len(files) - FILES:,} more; --json shows all")


def ago(moment: datetime | None) -> str:
    """How long ago, in the largest unit of which there are two."""
    if moment is None:
        return "never"
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    unit, size = next((unit for unit in UNITS if seconds >= 2 * unit[1]), UNITS[-1])
    return f"{int(seconds // size)} {unit} ago"


def _title(text: str) -> None:
    typer.secho(text, bold=True)
