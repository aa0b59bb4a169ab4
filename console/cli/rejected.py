"""`headwater rejected`: which records were rejected and why, their exact bytes, and another try."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.start import moment, run, start
from console.cli.table import Form, Format, Json, print_csv, print_json, print_table, progress, say, text
from infra.local.user import user_name
from lineage.counted import counted
from lineage.errors import RejectedError

if TYPE_CHECKING:
    from tasks.look.rejected_queries import Listed, Which

commands = typer.Typer(
    help="Rejected records: list them, show one, replay them, drop them.", no_args_is_help=True
)


class StageName(StrEnum):
    """Where a record was rejected."""

    DECODE = "decode"
    VALIDATE = "validate"
    LOAD = "load"


_SHOWN_DIGITS = 12
_COLUMNS = ("identity", "rejected_at", "dataset", "location", "stage", "rules", "attempts", "message")


Dataset = Annotated[str | None, typer.Option(help="Only of this dataset, e.g. mqtt:sensors/+/readings.")]
Rule = Annotated[str | None, typer.Option(help="Only those that broke this rule, e.g. temperature.range.")]
Stage = Annotated[StageName | None, typer.Option(help="Only of this stage.")]
Since = Annotated[str | None, typer.Option(help="Only rejected since then, e.g. 2026-11-21T08:00; UTC.")]


@commands.command("ls")
def ls(
    dataset: Dataset = None,
    rule: Rule = None,
    stage: Stage = None,
    since: Since = None,
    resolved: Annotated[
        bool, typer.Option("--all/--open", help="Also what was replayed or dropped.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    form: Form = Format.TABLE,
) -> None:
    """List rejected records, the newest first."""
    settings = start()
    from console.asked import rejected

    found = run(rejected.ls(settings, _which(dataset, rule, stage, since, resolved), limit))
    _print(form, found)
    if not found.total and form is not Format.JSON:
        say("No rejected record fits.", err=True)
    _tell_unknown(found)
    if found.total > len(found.records) and form is not Format.JSON:
        say(f"Shown: {len(found.records)} of {found.total}; --limit shows more.", err=True)


@commands.command("show")
def show(
    identity: Annotated[str, typer.Argument(metavar="IDENTITY", help="The first digits of its identity.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the message's exact bytes, nothing else.")
    ] = False,
) -> None:
    """Show every field of one record, and the message it stands in."""
    settings = start()
    from console.asked import rejected

    found = run(rejected.show(settings, identity))
    if raw:
        if found.payload is None:
            raise RejectedError("The message was erased: only its digest is left.")
        typer.echo(found.payload, nl=False)
        return
    width = max(map(len, found.record))
    stands_in = {"raw_batch": found.record["raw_batch"] or found.record["batch"]}  # its own, unless replayed
    for name, value in (found.record | stands_in).items():
        say(f"{name:<{width}}  {text(value)}")
    for verdict in found.replays:
        said = ", ".join(f"{name} {text(value)}" for name, value in verdict.items() if value is not None)
        say(f"{'verdict':<{width}}  {said}")
    message = "(erased)" if found.payload is None else escaped(found.payload)
    say(f"{'bytes':<{width}}  {message}")
    for name, value in found.beside.items():
        say(f"{name:<{width}}  {text(value)}")


@commands.command("replay")
def replay(
    dataset: Dataset = None,
    rule: Rule = None,
    stage: Stage = None,
    since: Since = None,
    pipeline: Annotated[
        str | None,
        typer.Option(help="Who replays what was read by a pipeline that is not known or is gone."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run open rejected records through today's pipeline; those that pass are stored.

    What today's version would say again is left alone, so a second replay changes nothing.
    """
    settings = start()
    from console.asked import rejected
    from flows import catalog
    from flows.acts import replay as replays

    which = _which(dataset, rule, stage, since, False)
    replaying = replays.replay(
        settings, catalog.read(settings), which, dry_run=dry_run, tell=progress, stand_in=pipeline
    )
    total = run(replaying)
    if not total["batches"] and not total["unchanged"] + total["refused"] + total["failed"]:
        _tell_unknown(run(rejected.ls(settings, which, limit=1)))
    if as_json:
        print_json({"dry_run": dry_run, **total})
        return
    filtered = f"{total['filtered']} filtered, " if total["filtered"] else ""
    say(
        f"{'Nothing was changed. ' if dry_run else ''}{total['read']} judged: {total['accepted']} accepted, "
        f"{total['duplicates']} duplicates, {filtered}{total['rejected']} rejected again."
    )
    if total["refused"]:
        say(f"{total['refused']} were refused by Postgres and stay as they are.", err=True)
    if total["failed"]:
        said = "stay as they are: the transform fails on them, mend its code and replay"
        say(f"{total['failed']} {said}.", err=True)
    if total["unchanged"]:
        say(f"{total['unchanged']} were judged before by today's version, or erased.", err=True)


@commands.command("drop")
def drop(
    dataset: Dataset = None,
    rule: Rule = None,
    stage: Stage = None,
    since: Since = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the act.")] = "",
    by: Annotated[str | None, typer.Option(help="Who says so; without it, the user of this machine.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it. Without it, only what would be dropped is told.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Give open rejected records up: they wait no longer.

    Their bytes stay in raw; who dropped them and why is kept.
    """
    if apply and not reason:
        raise RejectedError("--apply takes a --reason.")
    settings = start()
    from console.asked import rejected

    which = _which(dataset, rule, stage, since, False)
    done = run(rejected.drop(settings, which, reason=reason, by_whom=by or user_name(), apply=apply))
    if not done.records:
        _tell_unknown(run(rejected.ls(settings, which, limit=1)))
    if as_json:
        print_json({"applied": apply, **asdict(done)})
        return
    for broken, records in done.rules.items():
        say(f"{broken}: {records:,}")
    dropped = counted(done.records, "record")
    were = "would be" if not apply else "was" if done.records == 1 else "were"
    say(f"{dropped} {were} dropped.")
    if not apply:
        say("Nothing was changed; --apply with a --reason does it.")


def escaped(payload: bytes) -> str:
    r"""Bytes as printable ASCII; whatever is not is written as `\xNN`, a backslash as two."""
    return repr(b'"' + payload)[3:-1].replace("\\'", "'")  # the quote makes repr's choice of quotes fixed


def _which(
    dataset: str | None, rule: str | None, stage: StageName | None, since: str | None, resolved: bool
) -> "Which":
    from tasks.look.rejected_queries import Which

    return Which(dataset=dataset, rule=rule, stage=stage, since=moment(since, "--since"), resolved=resolved)


def _tell_unknown(found: "Listed") -> None:
    """A name among the filters that no rejected record ever had may be mistyped."""
    for sentence in found.unknown:
        say(sentence, err=True)


def _print(form: Format, found: "Listed") -> None:
    records = found.records
    match form:
        case Format.JSON:
            print_json({"total": found.total, "shown": len(records), "records": records})
        case Format.CSV:
            names = list(records[0]) if records else list(_COLUMNS)
            print_csv(names, ([record[name] for name in names] for record in records))
        case Format.TABLE:
            rows = ([record[name] for name in _COLUMNS] for record in records)
            print_table(_COLUMNS, ([identity[:_SHOWN_DIGITS], *rest] for identity, *rest in rows))
