"""NDJSON: one object a line."""

import re
from typing import ClassVar, Literal

from tasks.batch import Format, Layout
from tasks.extract.formats.format import TextFormat
from tasks.extract.lines import Opening, first_line


class NdjsonFormat(TextFormat):
    """Lines of JSON."""

    kind: ClassVar = Format.NDJSON
    endings: ClassVar = (".ndjson", ".jsonl")
    no_blank: ClassVar = re.compile(rb"[^\r\n\t ]")

    type: Literal["ndjson"]

    def layout(self) -> Layout:
        return Layout(format=self.kind, spaces_are_blank=True)

    def opening(self, head: bytes, *, ended: bool) -> Opening | None:
        line = first_line(head, ended=ended)
        return line and Opening(0, line.line_end)
