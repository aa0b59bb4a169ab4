"""`headwater lineage`: the record for other systems, and theirs for our record."""

import json
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, aclosing, contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated, Any

import typer

from console.cli.exits import DIFFERENCES
from console.cli.start import run, start
from console.cli.table import Json, print_json, print_table, say
from lineage.counted import counted
from lineage.errors import SettingsError

Event = Mapping[str, Any]

commands = typer.Typer(help="Lineage of and for other systems: OpenLineage and PROV.", no_args_is_help=True)


class Format(StrEnum):
    OPENLINEAGE = "openlineage"
    PROV = "prov"


Since = Annotated[
    str | None, typer.Option(help="Only what was committed since then, e.g. 2026-11-21T08:00; UTC.")
]
Out = Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")]
Url = Annotated[str | None, typer.Option(help="Send the events to this OpenLineage server instead.")]


@commands.command("export")
def export(
    form: Annotated[Format, typer.Option("--format", help="openlineage or prov")] = Format.OPENLINEAGE,
    since: Since = None,
    out: Out = None,
    url: Url = None,
) -> None:
    """Tell the record to others: OpenLineage run events, one a line, or one PROV-JSON document."""
    settings, after = start(), _moment(since)
    from console.asked import interchange

    if form is Format.PROV:
        if url is not None:
            raise SettingsError("--url takes OpenLineage events: leave --format prov out.")
        with _opened(out) as file:
            file.write(json.dumps(run(interchange.provenance(settings, after))) + "\n")
        return
    events = interchange.exported(settings, after)
    if url is not None:
        told = run(_each(events, interchange.server(settings, url)))
    else:
        with _opened(out) as file:
            told = run(_each(events, lambda event: file.write(json.dumps(event) + "\n")))
    say(counted(told, "event"), err=True)


async def _each(
    events: AsyncGenerator[Mapping[str, Any], None], tell: Callable[[Mapping[str, Any]], object]
) -> int:
    told = 0
    async with aclosing(events):
        async for event in events:
            tell(event)
            told += 1
    return told


def _opened(out: Path | None) -> AbstractContextManager[IO[str]]:
    """The file to write, or stdout."""
    if out is None:
        return nullcontext(sys.stdout)
    try:
        return out.open("w", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{out} cannot be written: {error.strerror}.") from error


@commands.command("import")
def import_(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-", help="One OpenLineage event, an array, or one after another; - is stdin."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Take others' OpenLineage events into the record; exit status 1 where one could not be read."""
    settings = start()
    from console.asked import interchange

    with _read(file) as events:
        done = run(interchange.imported(settings, events, "stdin" if file == "-" else file))
    if as_json:
        print_json(asdict(done))
    else:
        for bad in done.bad:
            say(f"event {bad.place}: {bad.reason}")
        again = f", {done.again:,} were there already" if done.again else ""
        say(f"{counted(done.new, 'event')}, {counted(done.edges, 'edge')}, {len(done.bad):,} rejected{again}")
    if done.bad:
        raise typer.Exit(DIFFERENCES)


@contextmanager
def _read(file: str) -> Iterator[IO[bytes]]:
    """The file, or stdin kept beside, since it is read twice."""
    with ExitStack() as stack:
        if file != "-":
            try:
                yield stack.enter_context(Path(file).open("rb"))
            except OSError as error:
                raise SettingsError(f"{file} cannot be read: {error.strerror}.") from error
            return
        kept = stack.enter_context(TemporaryFile())
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.seek(0)
        yield kept


@commands.command("imported")
def imported(
    every: Annotated[
        bool, typer.Option("--all", help="Also events that are in the graph as a whole.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    as_json: Json = False,
) -> None:
    """List imported events with facets the graph does not show, and those that could not be read."""
    settings = start()
    from console.asked import interchange

    found = run(interchange.listed(settings, limit, every=every))
    if as_json:
        print_json(asdict(found))
        return
    rows = [
        (
            e.hash[:12],
            e.happened_at,
            e.job,
            e.state,
            e.error or " ".join(f"{f.where}:{f.name}" for f in e.facets),
        )
        for e in found.events
    ]
    print_table(("event", "happened_at", "job", "state", "not in the graph"), rows)
    if found.total > len(found.events):
        say(f"Shown: {len(found.events)} of {found.total}; --limit shows more.", err=True)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"--since takes a time like 2026-11-21T08:00, not {text!r}.") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
