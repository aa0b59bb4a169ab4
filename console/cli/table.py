"""The forms an answer is printed in: a table, JSON or CSV."""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import typer

from infra.printable import printable, printable_json

WIDE = 100_000  # characters; more than any row

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Form = Annotated[Format, typer.Option("--format", help="How to print the answer.")]


def say(message: object = "", *, err: bool = False) -> None:
    """One line: whatever of it came from outside ends no line, and does nothing to a terminal."""
    typer.echo(printable(str(message)), err=err)


def print_json(document: object) -> None:
    """One line of JSON."""
    typer.echo(printable_json(json.dumps(document, default=text, ensure_ascii=False)))


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A header and the rows."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(printable(column) for column in columns)
    writer.writerows([printable(text(value)) for value in row] for row in rows)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned, with nothing cut: a terminal that is too narrow wraps the lines itself."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(printable(column)))
    for row in rows:
        table.add_row(*(Text(printable(text(value))) for value in row))
    console = Console(width=WIDE)
    console.width = max(1, Measurement.get(console, console.options, table).maximum)
    console.print(table, crop=False)


def text(value: object) -> str:
    """A value in one cell: moments in UTC, bytes in hexadecimal, lists by spaces, a null empty."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def progress(done: int, of: int) -> None:
    """Tell a person at a terminal how many raw batches are done."""
    if sys.stderr.isatty():
        typer.echo(f"\r{done} of {of} raw batches", nl=done == of, err=True)
