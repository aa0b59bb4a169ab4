"""Where we are in a plan."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any


class Reader:
    """Polars' traverser of a plan, and how far its expressions are read.

    Polars numbers a plan's expressions as it builds them: an operand before its operator, one
    expression after the other. So what a hidden expression reads has a number between those of the
    expression read before it and its own.
    """

    def __init__(self, traverser: Any) -> None:
        self.traverser = traverser
        self.last = -1

    def columns_before(self, number: int) -> Iterator[str]:
        """The columns among the operands of expression `number`; more than those if in doubt."""
        start = self.last + 1 if self.last < number else 0
        for each in range(start, number):
            with suppress(NotImplementedError):
                node = self.traverser.view_expression(each)
                if type(node).__name__ == "Column":
                    yield node.name
