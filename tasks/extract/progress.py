"""How far a source was read, as its readers see it: each part of it has a mark, kept with the rows."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tasks.batch import Advance


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Of one dataset and one pipeline. A source that is not read in parts is the part ''."""

    read: Callable[[], Awaitable[Mapping[str, str]]]  # part → mark
    begin: Callable[[Mapping[str, str]], Awaitable[None]]  # note them all, unless the first of them is noted
    go_on: Callable[[Advance], Awaitable[None]]  # elsewhere, unless another reader has moved on
