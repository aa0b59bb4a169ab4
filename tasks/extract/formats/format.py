"""What every format of files says of itself."""

import re
from typing import ClassVar

from tasks.batch import Format, Layout
from tasks.contract import Frozen
from tasks.extract.lines import Opening


class FileFormat(Frozen):
    """How records stand in a file. What it says is kept beside the bytes, as a `Layout`."""

    kind: ClassVar[Format]
    endings: ClassVar[tuple[str, ...]]  # of names that promise it, where a pipeline says no format

    def layout(self) -> Layout:
        """What is kept beside the bytes of every file of it; how its lines end is the file's own."""
        return Layout(format=self.kind)

    def read_again(self, stored: Layout) -> Layout:
        """How a part is read today that was cut before; other cuts than those it has cannot be made."""
        return stored


class TextFormat(FileFormat):
    """Records that are lines, so that a file of them may grow."""

    no_blank: ClassVar[re.Pattern[bytes]]  # a byte that stands in no empty line

    def opening(self, head: bytes, *, ended: bool) -> Opening | None:
        """What stands before the records; `head`: a file's first bytes. None: more are needed to tell."""
        raise NotImplementedError
