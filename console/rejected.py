"""`headwater rejected`: which records were rejected and why, their exact bytes, and another try."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.start import run, start
from console.table import print_table
from lineage.errors import RejectedError

if TYPE_CHECKING:
    from tasks.load.rejected_queries import Which

commands = typer.Typer(help="Rejected records: list them, show one, replay them.", no_args_is_help=True)

_SHOWN_DIGITS = 12
_COLUMNS = ("identity", "rejected_at", "dataset", "location", "stage", "rules", "attempts", "message")


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Dataset = Annotated[str | None, typer.Option(help="Only of this dataset, e.g. mqtt:sensors/+/readings.")]
Rule = Annotated[str | None, typer.Option(help="Only those that broke this rule, e.g. temperature.range.")]
Stage = Annotated[str | None, typer.Option(help="Only of this stage: decode, validate or load.")]
Since = Annotated[str | None, typer.Option(help="Only rejected since then, e.g. 2026-11-21T08:00; UTC.")]


@commands.command("ls")
def ls(
    dataset: Dataset = None,
    rule: Rule = None,
    stage: Stage = None,
    since: Since = None,
    resolved: Annotated[bool, typer.Option("--all/--open", help="Also what a replay has resolved.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    format: Annotated[Format, typer.Option(help="table, json or csv")] = Format.TABLE,
) -> None:
    """List rejected records, the newest first."""
    settings = start()
    from flows.rejected import listed

    found = run(listed(settings, _which(dataset, rule, stage, since, resolved), limit))
    if format is Format.JSON:
        _print_json({"total": found.total, "shown": len(found.records), "records": found.records})
        return
    if format is Format.CSV:
        _print_csv(found.records)
    else:
        _print_table(found.records)
    if found.total > len(found.records):
        print(f"Shown: {len(found.records)} of {found.total}; --limit shows more.", file=sys.stderr)


@commands.command("show")
def show(
    identity: Annotated[str, typer.Argument(help="The first digits of its identity.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the message's exact bytes, nothing else.")
    ] = False,
) -> None:
    """Show every field of one record, and the message it stands in."""
    settings = start()
    from flows.rejected import shown

    found = run(shown(settings, identity))
    if raw:
        if found.payload is None:
            raise RejectedError("The message was erased: only its digest is left.")
        sys.stdout.buffer.write(found.payload)
        sys.stdout.buffer.flush()
        return
    width = max(map(len, found.record))
    for name, value in found.record.items():
        print(f"{name:<{width}}  {_text(value)}")
    for verdict in found.replays:
        print(f"{'replay':<{width}}  {', '.join(f'{k} {_text(v)}' for k, v in verdict.items())}")
    message = "(erased)" if found.payload is None else escaped(found.payload)
    print(f"{'bytes':<{width}}  {message}")


@commands.command("replay")
def replay(
    dataset: Dataset = None,
    rule: Rule = None,
    stage: Stage = None,
    since: Since = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run open rejected records through today's pipeline; those that pass are stored.

    What today's version has judged before is left alone, so a second replay changes nothing.
    """
    settings = start()
    from flows.replay import replayed

    total = run(
        replayed(settings, _which(dataset, rule, stage, since, False), dry_run=dry_run, tell=_progress)
    )
    if as_json:
        _print_json({"dry_run": dry_run, **total})
        return
    print(
        f"{'Nothing was changed. ' if dry_run else ''}{total['read']} judged: {total['accepted']} accepted, "
        f"{total['duplicates']} duplicates, {total['rejected']} rejected again."
    )
    if total["refused"]:
        print(f"{total['refused']} were refused by Postgres and stay as they are.", file=sys.stderr)
    if total["unchanged"]:
        print(f"{total['unchanged']} were judged before by today's version, or erased.", file=sys.stderr)


def escaped(payload: bytes) -> str:
    r"""Bytes as printable ASCII; whatever is not is written as `\xNN`, a backslash as two."""
    return repr(b'"' + payload)[3:-1].replace("\\'", "'")  # the quote makes repr's choice of quotes fixed


def _which(
    dataset: str | None, rule: str | None, stage: str | None, since: str | None, resolved: bool
) -> "Which":
    from tasks.load.rejected_queries import Which

    return Which(dataset=dataset, rule=rule, stage=stage, since=_moment(since), resolved=resolved)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RejectedError(f"--since {text!r} is no time: write 2026-11-21T08:00, in UTC") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {of} raw batches", end="" if done < of else "\n", file=sys.stderr, flush=True)


def _print_json(document: Mapping[str, Any]) -> None:
    print(json.dumps(document, default=_text, ensure_ascii=False))


def _print_csv(records: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = list(records[0]) if records else list(_COLUMNS)
    writer.writerow(names)
    writer.writerows([_text(record[name]) for name in names] for record in records)


def _print_table(records: Sequence[Mapping[str, Any]]) -> None:
    rows = ([_text(record[name]) for name in _COLUMNS] for record in records)
    print_table(_COLUMNS, ([identity[:_SHOWN_DIGITS], *rest] for identity, *rest in rows))


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
