"""CSV: records are lines of cells, under a header or under names that the pipeline gives."""

import re
from collections import Counter
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from tasks.batch import Format, Layout
from tasks.extract.formats.format import TextFormat
from tasks.extract.lines import Opening, csv_opening


def _separates(said: str) -> str:
    if not said.isascii() or said in '"\r\n':
        raise ValueError("no quote, no end of a line and no sign beyond ASCII separates cells")
    return said


def _differ(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"{twice[0]} comes twice: give each column a name of its own")
    return names


class CsvFormat(TextFormat):
    """Lines of cells. `skip` counts lines as an editor does, whatever stands in them."""

    kind: ClassVar = Format.CSV
    endings: ClassVar = (".csv",)
    no_blank: ClassVar = re.compile(rb"[^\r\n]")

    type: Literal["csv"]
    delimiter: Annotated[str, AfterValidator(_separates)] = Field(default=",", min_length=1, max_length=1)
    skip: int = Field(default=0, ge=0, description="Lines at the beginning that are no data")
    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], AfterValidator(_differ)] = Field(
        default=(), min_length=1, description="Of the columns, in order; then no line is a header"
    )

    def layout(self) -> Layout:
        return Layout(format=self.kind, delimiter=self.delimiter, skip=self.skip, names=self.names)

    def read_again(self, stored: Layout) -> Layout:
        """As it is said today, if the records of today's begin at the same line: none is a header then."""
        today = self.layout()
        if stored.format is not self.kind or stored.lines_before != today.lines_before:
            return stored
        return replace(stored, delimiter=today.delimiter, skip=today.skip, names=today.names)

    def opening(self, head: bytes, *, ended: bool) -> Opening | None:
        return csv_opening(head, self.skip, header=not self.names, ended=ended)
