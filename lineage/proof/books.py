"""The books of a range of batches: the ledger against its outputs, and these against the stored rows.

A range is first ≤ batch < end, so that one batch and the whole store are checked by the same code in
bounded memory. Each check gives one sentence per difference.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lineage.trigger_events import EVENT

from .. import query_files
from ..keys import KeyRing
from ..ports import Connection
from ..stored import TableShape
from .held import Held, by_bucket

_OUTPUTS = """
SELECT o.*, g.digest_version, g.digest_key FROM store.ledger_outputs o LEFT JOIN store.ledger g USING (batch)
WHERE o.batch >= $1 AND o.batch < $2 ORDER BY o.batch, o.table_name, o.bucket
"""
_NEWEST_OF_BUCKETS = query_files.read(__package__, "newest_outputs.sql")
_TOUCHED = """
AND o.bucket IN (
    SELECT bucket FROM store.ledger_outputs WHERE table_name = $1 AND batch >= $2 AND batch < $3
)
"""


@dataclass(slots=True)
class Counts:
    """What was looked at."""

    batches: int = 0
    rows: int = 0
    rejected: int = 0
    edges: int = 0
    keyless: int = 0  # batches whose rows and rejected records were digested without a key


@dataclass(slots=True)
class Books:
    """The ledger of some batches, and what each says it put where."""

    ledger: dict[int, Any]
    outputs: dict[int, list[Any]] = field(default_factory=lambda: defaultdict(list))
    messages: dict[int, int] = field(default_factory=dict)


async def read_books(connection: Connection, first: int, end: int) -> Books:
    """The books of first ≤ batch < end."""
    rows = await connection.fetch("SELECT * FROM store.ledger WHERE batch >= $1 AND batch < $2", first, end)
    books = Books({row["batch"]: row for row in rows})
    for row in await connection.fetch(_OUTPUTS, first, end):
        books.outputs[row["batch"]].append(row)
    return books


def balance(books: Books, tables: Mapping[str, TableShape]) -> list[str]:
    """The sums inside the ledger."""
    found = []
    for number, row in books.ledger.items():
        out = row["accepted"] + row["rejected"] + row["duplicates"] + row["filtered"]
        if row["read"] != out:
            found.append(f"batch {number}: the ledger says {row['read']} read and accounts for {out}")
        written = sum(output["rows"] for output in books.outputs.get(number, ()))
        if row["accepted"] != written and row["way"] != EVENT:  # see `trigger_events.py`
            found.append(
                f"batch {number}: the ledger says {row['accepted']} accepted, its outputs add up to {written}"
            )
    for number, outputs in books.outputs.items():
        if number not in books.ledger:
            found.append(f"batch {number}: it has outputs and is not in the ledger")
        unknown = {output["table_name"] for output in outputs} - tables.keys()
        found += [f"batch {number}: no contract describes its output {name}" for name in sorted(unknown)]
        found += _not_one_each(number, outputs, tables)
    return found


def _not_one_each(number: int, outputs: Sequence[Any], tables: Mapping[str, TableShape]) -> Iterable[str]:
    """A batch has one output of a table, or one per bucket of it; a second one could hide the first."""
    seen: set[tuple[str, Any]] = set()
    for name, bucket in ((output["table_name"], output["bucket"]) for output in outputs):
        derived = name in tables and tables[name].kind == "recompute"
        if (name, bucket) in seen or (name in tables and derived != (bucket is not None)):
            of = f" of {bucket:%Y-%m-%dT%H:%MZ}" if bucket else ""
            yield f"batch {number}: an output {name}{of} that no commit writes"
        seen.add((name, bucket))


def is_keyless(row: Mapping[str, Any]) -> bool:
    """Whether a ledger row has digests, of rows or rejected records, that anyone could make."""
    return bool(row["digest_key"] is None and (row["accepted"] or row["rejected"]))


def outputs_of(books: Books, table: str) -> dict[int, Any]:
    """Batch → what it says of a table that is fed by messages."""
    return {
        number: output
        for number, outputs in books.outputs.items()
        for output in outputs
        if output["table_name"] == table
    }


def compare_rows(books: Books, shape: TableShape, held: Mapping[int, Held]) -> list[str]:
    """The rows of one table against the outputs of their batches."""
    found, expected = list[str](), outputs_of(books, shape.name)
    for number, output in expected.items():
        found += compare(f"{shape.name}, batch {number}", output, held.get(number))
    for number, each in held.items():
        if number not in books.ledger:
            found.append(f"{shape.name}: {each.rows} row(s) of batch {number}, which is not in the ledger")
        elif number not in expected:
            found.append(f"{shape.name}, batch {number}: {each.rows} row(s) stored, none recorded")
    return found


def compare(what: str, recorded: Any, held: Held | None) -> list[str]:
    """Stored rows against one row of ledger_outputs."""
    rows = held.rows if held else 0
    if rows != recorded["rows"]:
        return [f"{what}: {recorded['rows']} row(s) recorded, {rows} stored"]
    return [f"{what}: {held.difference}"] if held and held.difference else []


async def check_buckets(
    connection: Connection,
    shape: TableShape,
    counts: Counts,
    keys: KeyRing,
    batches: tuple[int, int] | None = None,
) -> AsyncIterator[str]:
    """The buckets of a derived table, or those that first ≤ batch < end made; of each the newest batch."""
    recorded = await _recorded_buckets(connection, shape.name, batches)
    if batches is not None and not recorded:
        return
    newest = {(start, output["batch"]): output for start, output in recorded.items()}
    held = await by_bucket(connection, shape, newest, keys, whole=batches is None)
    counts.rows += sum(each.rows for each in held.values())
    for start, output in recorded.items():
        what = f"{shape.name}, {_named(shape, start)}, batch {output['batch']}"
        for difference in compare(what, output, held.pop((start, output["batch"]), None)):
            yield difference
    for (start, number), each in sorted(held.items()):
        yield (
            f"{shape.name}, {_named(shape, start)}: {each.rows} row(s) of batch {number}, "
            "which is not the newest recorded for it"
        )


def _named(shape: TableShape, start: datetime) -> str:
    return f"{shape.bucket} {shape.bucket.label(start)}"


async def _recorded_buckets(
    connection: Connection, table: str, batches: tuple[int, int] | None
) -> dict[Any, Any]:
    query = _NEWEST_OF_BUCKETS.format(touched="" if batches is None else _TOUCHED)
    rows = await connection.fetch(query, table, *(batches or ()))
    return {row["bucket"]: row for row in rows}
