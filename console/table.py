"""Prints rows as a table that cuts nothing: a terminal that is too narrow wraps its lines itself."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDE = 100_000  # characters; more than any row


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns and their values; a null is empty."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    console = Console(width=WIDE)
    console.width = max(1, Measurement.get(console, console.options, table).maximum)
    console.print(table, crop=False)
