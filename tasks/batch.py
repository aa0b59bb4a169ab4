"""What travels through the pipeline: a batch as received, its refined halves, and the receipt of its commit.

    source ─▶ RawBatch ─refine─▶ Refined ─load─▶ Receipt

Frames have fixed columns, named here once.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

import polars as pl

from lineage.canonical import canonical_json

# A message as received. Its row number is its sequence in the batch.
MESSAGE_SCHEMA = pl.Schema({"location": pl.String, "payload": pl.Binary})
"""`location`: the MQTT topic, the URL path or the file line it came from; `payload`: its bytes."""

BESIDE_SCHEMA = pl.Schema(
    {
        "key": pl.Binary(),
        "headers": pl.List(pl.Struct({"name": pl.String(), "value": pl.Binary()})),
        "sent_at": pl.Datetime("us", "UTC"),
    }
)
"""What comes beside a message where its source has such a thing, and some message of the batch has it: `key`
and `headers`, in their order, a name maybe more than once; when it was sent, by its source's clock."""

# What every accepted row carries besides its contract's columns.
ORIGIN_SCHEMA = pl.Schema({"sequence": pl.Int32, "part": pl.Int32, "input_hash": pl.Int64})
"""`sequence`: the message it came from; `part`: which row of that message (null: the only one);
`input_hash`: `lineage.digest.row_hashes` of the decoded input, before any enrichment."""

PLACE_SCHEMA = pl.Schema({"sequence": pl.Int32, "part": pl.Int32})
"""Where a record stands in its batch; without a part: a whole message."""

# A rejected record: which bytes, and every rule it broke.
_REJECTED: dict[str, pl.DataType] = {
    "sequence": pl.Int32(),
    "part": pl.Int32(),
    "stage": pl.String(),  # "decode" | "validate" | "load"
    "rules": pl.List(pl.String()),  # every broken rule, e.g. ["temperature.range", "timestamp.zone"]
    "error_type": pl.String(),  # the class of the first broken rule, e.g. "range"
    "message": pl.String(),  # one sentence for a person
    "table": pl.String(),  # the table it was meant for, null when it could not be told
    "key": pl.String(),  # canonical JSON of its natural key, null when it could not be told
    "input_hash": pl.Int64(),  # as an accepted row's, null when it could not be decoded
}
REJECTED_SCHEMA = pl.Schema(_REJECTED)

FILTERED_SCHEMA = pl.Schema(
    {name: _REJECTED[name] for name in ("sequence", "part", "table", "key", "input_hash")}
)
"""A good record that a step left out on purpose: where it stands, and what it would have been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in a source that repeats exactly a batch came from. MQTT has none."""

    source: str  # the dataset's URI
    detail: Mapping[str, Any]  # e.g. {"path": …, "sha256": …, "from": 0, "to": 65536}
    may_recur: bool = False  # as of other messages: a topic that is made anew counts from 0 again


class Format(StrEnum):
    """How many records stand in one message."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"  # its rows, as an Arrow IPC file


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where records stand when a message holds many; kept beside the bytes, so that they can be read again.

    The last message of the batch holds them, and a row's `part` is the number of its record there; of a
    CSV file the message before it is what stands before its records: lines that are skipped, and the header.
    """

    format: Format
    delimiter: str = ","
    columns: Mapping[str, str] = field(default_factory=dict)  # the file's name → ours, where they differ
    line_end: str = "\n"
    spaces_are_blank: bool = False  # of NDJSON: a line of spaces alone is empty; false: as it was once read
    refused: str = ""  # why its last message is no record of that format: a sentence
    skip: int = 0  # lines at the beginning of a CSV file that are no data
    names: tuple[str, ...] = ()  # of its columns, in order: no line of it is a header

    @property
    def lines_before(self) -> int:
        """How many lines stand before the records of a file: skipped ones, and a header."""
        return 0 if self.format is not Format.CSV else self.skip + (0 if self.names else 1)

    def text(self) -> str:
        """As JSON, the way it is stored."""
        return json.dumps(asdict(self))


def layout_of(stored: str | None) -> Layout | None:
    """The layout of a stored raw batch."""
    if stored is None:
        return None
    fields = json.loads(stored)
    names = tuple(fields.get("names", ()))
    return Layout(**fields | {"format": Format(fields["format"]), "names": names})


@dataclass(frozen=True, slots=True)
class Advance:
    """From one mark of a source to the next; `first`: None at its beginning.

    `part`: of a source that is read in parts which of them, as a partition's number.
    """

    first: str | None
    end: str
    part: str = ""


async def nothing() -> None:
    """For a source that keeps no account of what was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBatch:
    """What is committed together, exactly as it was received."""

    dataset: str  # URI of the source dataset
    messages: pl.DataFrame  # MESSAGE_SCHEMA, and columns of BESIDE_SCHEMA; n rows
    received_at: datetime  # UTC; the only clock a transform may use
    received_until: datetime  # UTC; when the last message came
    position: Position | None = None
    layout: Layout | None = None  # None: each message is one record
    progress: tuple[Advance, ...] = ()  # made in the batch's transaction, or it is not committed
    may_repeat: bool = False  # some of it may have been delivered before: after a reconnect, or a DUP flag
    acknowledge: Callable[[], Awaitable[None]] = field(default=nothing)
    abandon: Callable[[], Awaitable[None]] = field(default=nothing)  # another reader overtook it
    left_out: pl.DataFrame | None = None
    """PLACE_SCHEMA, n: records that are not read again now; they give no row and take no key from others."""
    halve: Callable[[], "tuple[RawBatch, RawBatch] | None"] | None = None
    """Cut where its position can be cut, neither half with a way to acknowledge; None for one record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """The outcome of a batch's transform; read = accepted + rejected + duplicates + filtered."""

    accepted: Mapping[str, pl.DataFrame]  # table name → its contract's columns and ORIGIN_SCHEMA
    rejected: pl.DataFrame  # REJECTED_SCHEMA
    duplicates: int  # the same record again within the batch
    filtered: int  # left out on purpose: by a step, or since a newer one of the batch supersedes it
    read: int  # records found in the messages; a message that cannot be decoded counts as one
    filtered_rows: pl.DataFrame = field(default_factory=FILTERED_SCHEMA.to_frame)
    """FILTERED_SCHEMA: those of `filtered` that a step left out. They stay filtered when they come again."""
    looked_up: Mapping[str, str] | None = None
    """Dataset (URI) → its state that rows were looked up in, by name or digest; None: not known."""

    def __post_init__(self) -> None:
        out = sum(frame.height for frame in self.accepted.values())
        out += self.rejected.height + self.duplicates + self.filtered
        if out != self.read:
            raise ValueError(f"the transform read {self.read} records and accounts for {out}")

    @property
    def superseded(self) -> int:
        """How many records of those that are filtered are so for a newer one of the batch."""
        return self.filtered - self.filtered_rows.height


@dataclass(frozen=True, slots=True)
class ReferenceState:
    """A reference table as it was when everything up to a batch was committed, which never changes."""

    batch: int  # the last one that changed it; 0: none did
    rows: pl.DataFrame  # the columns of its contract, each key once

    @property
    def said(self) -> str:
        """How the ledger names it (`Refined.looked_up`)."""
        return f"batch {self.batch}"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Data that a transform looks things up in, passed as frames so that the transform stays pure."""

    frames: Mapping[str, pl.DataFrame]  # e.g. {"devices": …}
    tables: Mapping[str, ReferenceState] = field(default_factory=dict)  # the reference tables of its steps

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Frame → 16 hexadecimal digits of a SHA-256 of its rows in any order; made once, not per batch."""
        return {name: _digest(frame) for name, frame in self.frames.items()}


def _digest(frame: pl.DataFrame) -> str:
    rows = sorted(canonical_json(row, default=str) for row in frame.rows())
    return hashlib.sha256(canonical_json([frame.columns, rows]).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a commit did; the same numbers stand in the ledger."""

    batch: int
    dataset: str
    read: int
    accepted: Mapping[str, int]  # table name → rows
    rejected: int
    duplicates: int
    filtered: int
    way: str  # "fast" | "staging" | "replay" | "reprocess" | "repeat" (its position stands; nothing written)
    run_id: UUID | None
    committed_at: datetime
