"""`headwater recall`: everything that came from a device, an experiment, a batch, a file or a version."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.start import moment, run, start
from console.cli.table import Json, print_json, progress, say, text
from infra.local.user import user_name
from lineage.counted import counted
from lineage.errors import RejectedError

if TYPE_CHECKING:
    from flows.acts.recall import Outcome
    from tasks.again.changes import Changes
    from tasks.again.quarantine import Kind

SHOWN = 10
"""Raw batches that are named; --json names all."""

Device = Annotated[str | None, typer.Option(help="What this device measured.")]
Experiment = Annotated[str | None, typer.Option(help="The run of a robot, and its steps.")]
Batch = Annotated[
    int | None, typer.Option(help="What was read from this raw batch, or stored by this commit.")
]
File = Annotated[
    str | None, typer.Option(help="What was read from this file, by its path below the pipeline's folder.")
]
Version = Annotated[str | None, typer.Option(help="What this version of the code made: NAME@VERSION.")]
From = Annotated[
    str | None, typer.Option("--from", help="Only rows from this time on, e.g. 2026-11-21T08:00; UTC.")
]
To = Annotated[str | None, typer.Option("--to", help="Only rows before this time.")]
Quarantine = Annotated[
    bool, typer.Option("--quarantine", help="Leave these rows out of the published views.")
]
Release = Annotated[bool, typer.Option("--release", help="Put rows in quarantine back.")]
Reprocess = Annotated[
    bool, typer.Option("--reprocess", help="Run their batches again from raw with today's code.")
]
Pipeline = Annotated[
    str | None,
    typer.Option(help="Who reprocesses what was read by a pipeline that is not known or is gone."),
]
Reason = Annotated[str, typer.Option(help="Why; kept with the act.")]
By = Annotated[str | None, typer.Option(help="Who says so; without it, the user of this machine.")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it. Without it, only what would be done is told.")]


def recall(
    device: Device = None,
    experiment: Experiment = None,
    batch: Batch = None,
    file: File = None,
    transformation: Version = None,
    since: From = None,
    until: To = None,
    quarantine: Quarantine = False,
    release: Release = False,
    reprocess: Reprocess = False,
    pipeline: Pipeline = None,
    reason: Reason = "",
    by: By = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Tell what came from something, down to aggregates; take it out, put it back, make it anew from raw.

    All that is chosen must hold. Nothing is changed without --apply.
    """
    kinds = _kinds(quarantine, release, reprocess)
    if apply and not (kinds and reason):
        raise RejectedError("--apply takes --quarantine, --release or --reprocess, and a --reason.")
    settings = start()
    from flows import catalog
    from flows.acts.recall import Order, recalled
    from tasks.again.recall import Selection

    selection = Selection(
        device=device,
        experiment=experiment,
        batch=batch,
        file=file,
        transformation=transformation,
        since=moment(since, "--from"),
        until=moment(until, "--to"),
    )
    order = Order(kinds=kinds, reason=reason, by_whom=by or user_name(), apply=apply, stand_in=pipeline)
    outcome = run(recalled(settings, catalog.read(settings), selection, order, progress))
    if as_json:
        print_json(asdict(outcome))
        return
    for line in lines(outcome, kinds):
        say(line)


def lines(outcome: "Outcome", kinds: "list[Kind]") -> Iterable[str]:
    """The outcome for a person."""
    scope = outcome.scope
    for table in scope.tables:
        out = f", {table.quarantined:,} of them in quarantine" if table.quarantined else ""
        batches = f"{table.batches:,} batch" + ("" if table.batches == 1 else "es")
        hours = counted(table.hours, "hour")
        yield f"{table.table}: {counted(table.rows, 'row')} of {batches} in {hours}{out}"
    for name, rows in scope.aggregates.items():
        yield f"{name}: {counted(rows, 'row')} made from them"
    for version, rows in scope.transformations.items():
        yield f"made by {version}: {counted(rows, 'row')}"
    if not scope.tables:
        yield "No stored row came from it."
    if scope.filtered:
        hold = "batch holds" if scope.filtered == 1 else "batches hold"
        yield f"{scope.filtered:,} {hold} records that were filtered"
    if not scope.raw_batches:
        return
    more = f" … {len(scope.raw_batches):,} in all" if len(scope.raw_batches) > SHOWN else ""
    yield "raw batches: " + " ".join(map(str, scope.raw_batches[:SHOWN])) + more
    yield from _acts(outcome, kinds)
    if not outcome.applied:
        yield "Nothing was changed" + ("; --apply does it." if kinds else ".")
    else:
        yield f"Computed again: {counted(outcome.buckets, 'bucket')} of derived tables."


def _acts(outcome: "Outcome", kinds: "list[Kind]") -> Iterable[str]:
    would = "" if outcome.applied else "would be "
    for kind, done in (("quarantine", "put in quarantine"), ("release", "released")):
        if kind in kinds:
            rows = sum(outcome.rows.values())
            were = would or ("was " if rows == 1 else "were ")
            yield f"{counted(rows, 'row')} {were}{done}"
    if "reprocess" not in kinds:
        return
    for changes in outcome.changes.values():
        yield from _changes(changes)
    for records, end in (
        (outcome.rejected, "rejected by today's rules"),
        (outcome.filtered, "filtered by today's steps"),
    ):
        if records:
            were = would or ("was " if records == 1 else "were ")
            yield f"{counted(records, 'record')} {were}{end}"
    if outcome.erased:
        erased = counted(outcome.erased, "erased message")
        yield f"What came from {erased} stays as it is"


def _changes(changes: "Changes") -> Iterable[str]:
    yield (
        f"{changes.table}, today: {counted(changes.changed, 'row')} changed, {changes.new:,} new, "
        f"{changes.withdrawn:,} withdrawn, {changes.unchanged:,} the same"
    )
    for column, rows in changes.columns.items():
        yield f"  {column}: {counted(rows, 'row')}"
    for column, rows in changes.lost.items():
        yield f"  {column}: {counted(rows, 'row')} lose it: no column of today's contract; history keeps it"
    for example in changes.examples:
        told = ", ".join(f"{n}: {text(old)} → {text(new)}" for n, (old, new) in example.columns.items())
        yield f"  {example.key}  {told}"


def _kinds(quarantine: bool, release: bool, reprocess: bool) -> "list[Kind]":
    if quarantine and release:
        raise RejectedError("--quarantine and --release at once contradict each other.")
    chosen: list[Kind] = []
    chosen += ["quarantine"] if quarantine else []
    chosen += ["release"] if release else []
    return chosen + (["reprocess"] if reprocess else [])
