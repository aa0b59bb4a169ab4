"""The books of a range of batches: the ledger against its outputs, and these against the stored rows.

A range is first ≤ batch < end, so that one batch and the whole store are checked by the same code in
bounded memory. Each check gives one sentence per difference.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ports import Connection
from ..stored import Held, TableShape, by_hour


@dataclass(slots=True)
class Counts:
    """What was looked at."""

    batches: int = 0
    rows: int = 0
    rejected: int = 0
    edges: int = 0


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
    query = (
        "SELECT batch, table_name, bucket, rows, values_sum FROM store.ledger_outputs "
        "WHERE batch >= $1 AND batch < $2 ORDER BY batch, table_name, bucket"
    )
    for row in await connection.fetch(query, first, end):
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
        if row["accepted"] != written:
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
    """A batch has one output of a table, of an aggregate one per hour; a second one could hide the first."""
    seen: set[tuple[str, Any]] = set()
    for name, bucket in ((output["table_name"], output["bucket"]) for output in outputs):
        aggregate = name in tables and tables[name].kind == "recompute"
        if (name, bucket) in seen or (name in tables and aggregate != (bucket is not None)):
            of = f" of {bucket:%Y-%m-%dT%HZ}" if bucket else ""
            yield f"batch {number}: an output {name}{of} that no commit writes"
        seen.add((name, bucket))


def compare_rows(books: Books, shape: TableShape, held: Mapping[int, Held]) -> list[str]:
    """The rows of one table against the outputs of their batches."""
    found, expected = [], {}
    for number, outputs in books.outputs.items():
        for output in outputs:
            if output["table_name"] == shape.name:
                expected[number] = output
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
    if held and recorded["values_sum"] not in held.sums:
        return [f"{what}: the values of its {rows} row(s) are not those recorded"]
    return []


async def check_hours(
    connection: Connection, shape: TableShape, counts: Counts, batches: tuple[int, int] | None = None
) -> AsyncIterator[str]:
    """The hours of an aggregate, or those that first ≤ batch < end made; an hour's newest batch counts."""
    recorded = await _recorded_hours(connection, shape.name, batches)
    if batches is not None and not recorded:
        return
    held = await by_hour(connection, shape, None if batches is None else list(recorded))
    counts.rows += sum(each.rows for each in held.values())
    for hour, output in recorded.items():
        what = f"{shape.name}, hour {hour:%Y-%m-%dT%HZ}, batch {output['batch']}"
        for difference in compare(what, output, held.pop((hour, output["batch"]), None)):
            yield difference
    for (hour, number), each in sorted(held.items()):
        yield (
            f"{shape.name}, hour {hour:%Y-%m-%dT%HZ}: {each.rows} row(s) of batch {number}, "
            "which is not the newest recorded for it"
        )


async def _recorded_hours(
    connection: Connection, table: str, batches: tuple[int, int] | None
) -> dict[Any, Any]:
    touched = (
        ""
        if batches is None
        else "AND bucket IN (SELECT bucket FROM store.ledger_outputs "
        "WHERE table_name = $1 AND batch >= $2 AND batch < $3) "
    )
    query = (
        "SELECT DISTINCT ON (bucket) bucket, batch, rows, values_sum FROM store.ledger_outputs "
        f"WHERE table_name = $1 AND bucket IS NOT NULL {touched}ORDER BY bucket, batch DESC"
    )
    rows = await connection.fetch(query, table, *(batches or ()))
    return {row["bucket"]: row for row in rows}
