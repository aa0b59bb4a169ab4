"""What a proof made again from the kept bytes: how much was compared, and what was not, and why.

The making is not ours: whoever knows the code that refines messages hands it to `prove` (`MakeAgain`).
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ..counted import counted
from ..ports import Connection
from .findings import Findings

CHECK = "from bytes"
"""How its differences are called among the findings."""


@dataclass(slots=True, kw_only=True)
class FromBytes:
    """What was made again and compared with what is stored; the differences stand in the findings."""

    batches: int = 0
    rows: int = 0
    values: int = 0
    rejected: int = 0  # records that were judged again
    filtered: int = 0  # records that a step left out again
    apart: int = 0  # rejected records whose verdict depends on more than their bytes
    erased: int = 0  # messages without bytes, in batches of which the others were made again
    left_out: dict[str, int] = field(default_factory=dict)  # which column and why → rows
    not_made: dict[str, int] = field(default_factory=dict)  # why → batches

    def leave_out(self, column: str, rows: int) -> None:
        """Count values that are not compared; `column`: which one, and why."""
        self.left_out[column] = self.left_out.get(column, 0) + rows

    def pass_over(self, why: str, batches: int = 1) -> None:
        """Count batches that are not made again."""
        self.not_made[why] = self.not_made.get(why, 0) + batches

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was compared, and each thing that was not."""
        return (self._compared, *self._not_compared())

    @property
    def _compared(self) -> str:
        if not (self.rows or self.rejected or self.filtered):
            return "from bytes: NOTHING was made again, so this says nothing of where any value comes from"
        filtered = f", {counted(self.filtered, 'filtered record')}" if self.filtered else ""
        return (
            f"from bytes: {counted(self.rows, 'row')} ({counted(self.values, 'value')}){filtered} and "
            f"{counted(self.rejected, 'rejected record')} of {counted(self.batches, 'batch')} made again"
        )

    def _not_compared(self) -> Iterator[str]:
        for why, batches in sorted(self.not_made.items()):
            yield f"not made again: {counted(batches, 'batch')}: {why}"
        for what, rows in sorted(self.left_out.items()):
            yield f"not compared: {what}, in {counted(rows, 'row')}"
        if self.apart:
            apart = counted(self.apart, "rejected record")
            yield f"not compared: {apart} whose verdict depends on what else was stored"
        if self.erased:
            yield f"not made again: {counted(self.erased, 'message')} whose bytes are erased"


MakeAgain: TypeAlias = Callable[[Connection, int, Findings], Awaitable[FromBytes]]
"""Of the batches from a number on; in the proof's snapshot, with its findings."""
