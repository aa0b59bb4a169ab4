"""From a robot's HTTP answers, as received, to the records in them: runs, commands and protocol names."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from tasks.batch import REJECTED_SCHEMA
from tasks.canonical import read_json
from tasks.layout import without_places
from tasks.transform.robot_item import data_of, items_of

Kind = Literal["run", "command", "protocol"]
TABLES: dict[Kind, str] = {"run": "experiments", "command": "experiment_steps"}
_LOCATION = re.compile(
    r"^.*/(?P<thing>runs|protocols)/(?P<id>[^/?]+)(?P<commands>/commands)?(?:\?.*)?$", re.S
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One record and where it stood."""

    kind: Kind
    owner: str  # the id in the URL: of the run, or of the protocol
    sequence: int  # the message
    part: int | None = None  # the place in its page, null when the message is the record
    index: int | None = None  # the place in the run's list of commands
    payload: bytes  # its bytes as they stand in the message
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A message, or an item of a page, that holds no record."""

    sequence: int
    part: int | None = None
    rule: str
    message: str
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Pages:
    """All that a batch's messages hold, in their order."""

    runs: list[Found] = field(default_factory=list)
    commands: list[Found] = field(default_factory=list)
    protocols: dict[str, Any] = field(default_factory=dict)  # id → name, as received
    unreadable: list[Unreadable] = field(default_factory=list)


def refused(unreadable: Sequence[Unreadable], left_out: pl.DataFrame | None) -> pl.DataFrame:
    """What holds no record, as rejected (REJECTED_SCHEMA, n), but what is `left_out` (PLACE_SCHEMA)."""
    rows = [
        {
            "sequence": each.sequence,
            "part": each.part,
            "stage": "decode",
            "rules": [each.rule],
            "error_type": each.rule.rpartition(".")[2],
            "message": f"{each.message}.",
            "table": each.table,
        }
        for each in unreadable
    ]
    rejected = pl.DataFrame(rows, schema=REJECTED_SCHEMA, orient="row")
    return rejected if left_out is None else without_places(rejected, left_out)


def is_page(location: str) -> bool:
    """Whether what came from there is a page of a run's commands."""
    where = _LOCATION.match(location)
    return where is not None and _kind(where) == "command"


def read_pages(messages: pl.DataFrame) -> Pages:
    """Read the messages (MESSAGE_SCHEMA, n); what cannot be read is in `unreadable`, never an exception."""
    pages = Pages()
    for sequence, (location, payload) in enumerate(messages.iter_rows()):
        for found in _message(sequence, location or "", payload or b""):
            if isinstance(found, Unreadable):
                pages.unreadable.append(found)
            elif found.kind == "run":
                pages.runs.append(found)
            elif found.kind == "command":
                pages.commands.append(found)
            else:
                pages.protocols[found.owner] = _protocol_name(found.data)
    return pages


def _message(sequence: int, location: str, payload: bytes) -> Iterator[Found | Unreadable]:
    where = _LOCATION.match(location)
    kind = _kind(where) if where else None
    if where is None or kind is None:
        message = "it came from a place that holds neither a run, its commands nor a protocol"
        yield Unreadable(sequence=sequence, rule="location.known", message=message)
        return
    try:
        document = read_json(payload)
    except ValueError as error:
        yield Unreadable(
            sequence=sequence, rule="page.json", message=f"it is not JSON: {error}", table=TABLES.get(kind)
        )
        return
    data = document.get("data") if isinstance(document, dict) else None
    if kind == "command":
        yield from _commands(sequence, where["id"], payload, document, data)
    elif isinstance(data, dict):
        yield Found(kind=kind, owner=where["id"], sequence=sequence, payload=data_of(payload), data=data)
    else:
        yield _no_data(sequence, kind, "an object")


def _protocol_name(protocol: dict[str, Any]) -> Any:
    metadata = protocol.get("metadata")
    return metadata.get("protocolName") if isinstance(metadata, dict) else None


def _kind(where: re.Match[str]) -> Kind | None:
    if where["thing"] == "protocols":
        return None if where["commands"] else "protocol"
    return "command" if where["commands"] else "run"


def _commands(
    sequence: int, run_id: str, page: bytes, document: Any, data: Any
) -> Iterator[Found | Unreadable]:
    if not isinstance(data, list):
        yield _no_data(sequence, "command", "a list")
        return
    meta = document.get("meta")
    cursor = meta.get("cursor") if isinstance(meta, dict) else None
    if not isinstance(cursor, int) or isinstance(cursor, bool) or not 0 <= cursor < 2**31:
        cursor = None  # the place in the run's list is then unknown
    for part, (item, payload) in enumerate(zip(data, items_of(page), strict=True)):
        if isinstance(item, dict):
            yield Found(
                kind="command",
                owner=run_id,
                sequence=sequence,
                part=part,
                index=None if cursor is None else cursor + part,
                payload=payload,
                data=item,
            )
        else:
            message = "this item of the page is not an object"
            yield Unreadable(
                sequence=sequence, part=part, rule="command.object", message=message, table="experiment_steps"
            )


def _no_data(sequence: int, kind: Kind, expected: str) -> Unreadable:
    message = f"its `data` is not {expected}"
    return Unreadable(sequence=sequence, rule="page.data", message=message, table=TABLES.get(kind))
