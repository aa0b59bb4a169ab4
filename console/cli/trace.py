"""`headwater trace`: from a stored value to the bytes it came from, and the code that made it."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli.start import run, start
from console.cli.table import Json, print_json, say, text
from lineage.counted import counted

if TYPE_CHECKING:
    from console.asked.trace import Traced
    from tasks.look.made_from import Part
    from tasks.look.origin import LedgerRow, Message
    from tasks.look.trace import Trace

Table = Annotated[str, typer.Argument(help="The table, e.g. sensor_readings.")]
Key = Annotated[str, typer.Argument(help="The row: name=value,… of every key column, or a JSON object.")]
Column = Annotated[str | None, typer.Argument(help="The value's column; without it, the whole row.")]
Page = Annotated[int, typer.Option(min=1, help="Of an aggregate: which page of the rows it was made from.")]


def trace(table: Table, key: Key, column: Column = None, page: Page = 1, as_json: Json = False) -> None:
    """Show what a value came from: its row, batch, message as received, code, run, device or experiment."""
    settings = start()
    from console.asked.trace import traced
    from flows import catalog

    found = run(traced(settings, catalog.read(settings), table, key, column, page))
    if as_json:
        print_json(document(found))
        return
    told = list(lines(found))
    width = max(len(name) for name, _ in told)
    for name, said in told:
        say(f"{name:<{width}}  {said}".rstrip())


def document(found: "Traced") -> dict[str, Any]:
    """The trace as JSON: UTF-8 is text in `payload`, other bytes are base64 in `payload_base64`."""
    told = {"column": found.column, "value": found.value} if found.column else {}
    kind, identity = found.subject or (None, None)
    code, _, version = found.trace.commit.transformation_id.rpartition("@")
    return {
        **told,
        **_spread(found.trace),
        **({} if found.record is None else {"record": found.record.decode("utf-8")}),
        "transformation": {"name": code, "version": version},
        "subject": {"kind": kind, "id": identity} if kind else None,
    }


def _spread(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        told = asdict(value)
        return {name: _spread(getattr(value, name)) for name in told if name != "payload"} | _bytes(told)
    if isinstance(value, Mapping):
        return dict(value)
    return [_spread(item) for item in value] if isinstance(value, list | tuple) else value


def _bytes(told: Mapping[str, Any]) -> dict[str, Any]:
    if "payload" not in told:
        return {}
    payload = told["payload"]
    try:
        return {"payload": None if payload is None else payload.decode("utf-8")}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(payload).decode("ascii")}


def lines(found: "Traced") -> Iterable[tuple[str, str]]:
    """The trace for a person, as names and texts."""
    row = found.trace
    if found.column:
        yield found.column, text(found.value)
    yield "row", f"{row.table}: " + ", ".join(f"{name}={text(value)}" for name, value in row.key.items())
    if not found.column:
        yield from ((f"  {name}", text(value)) for name, value in row.row.items() if value is not None)
    if found.subject:
        yield found.subject
    if row.quarantine:
        told = row.quarantine
        yield "quarantine", f"since {text(told['at'])} by {told['by_whom']}: {told['reason']}"
    yield from _commit(row.commit)
    if row.message:
        part = "" if row.part is None else f", part {row.part}"
        yield from _message(row.message, part, found.record)
    yield from _earlier(row)
    for part_of in row.made_from:
        yield from _part(part_of)


def _commit(commit: "LedgerRow") -> Iterable[tuple[str, str]]:
    yield "batch", f"{commit.batch}, committed {text(commit.processed_at)} ({commit.way})"
    yield "code", commit.transformation_id
    yield "run", f"{text(commit.run_id)} of {commit.application or '(unknown)'}"
    if commit.position:
        yield "position", commit.position


def _message(message: "Message", part: str = "", record: bytes | None = None) -> Iterable[tuple[str, str]]:
    """A message; of one that holds several records that record's bytes alone: `--json` has it whole."""
    from console.cli.rejected import escaped

    received = text(message.received_at)
    yield "message", f"{message.sequence}{part} of raw batch {message.raw_batch}, received {received}"
    yield "location", message.location
    own = message.payload if record is None else record
    yield "bytes", "(erased)" if own is None else escaped(own)
    yield from message.beside.items()


def _earlier(row: "Trace") -> Iterable[tuple[str, str]]:
    for before in row.earlier:
        code = before.commit.transformation_id
        yield "before", f"batch {before.commit.batch} by {code}, replaced by batch {before.replaced_by}"


def _part(part: "Part") -> Iterable[tuple[str, str]]:
    late = "; the bucket changed since and waits to be computed again" if part.changed_since else ""
    page = f", page {part.page} of {part.pages}" if part.pages > 1 else ""
    yield "made from", f"{counted(part.total, 'row')} of {part.table}{page}{late}"
    for message in part.messages:
        yield from _message(message)
    for row in () if part.messages else part.rows:  # of a derived table: each of them can be traced
        yield "row", ",".join(f"{name}={text(value)}" for name, value in row.items() if name != "batch")
