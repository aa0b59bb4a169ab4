"""How far a source was read, as its readers see it: each part of it has a mark, kept with the rows."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from lineage.digest import message_digests, packed
from tasks.batch import Advance, Position, RawBatch, nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Of one dataset and one pipeline. A source that is not read in parts is the part ''."""

    read: Callable[[], Awaitable[Mapping[str, str]]]  # part → mark
    begin: Callable[[Mapping[str, str]], Awaitable[None]]  # note them all, unless the first of them is noted
    go_on: Callable[[Advance], Awaitable[None]]  # elsewhere, unless another reader has moved on


def placed(batch: RawBatch) -> RawBatch:
    """The batch at the position that its marks and bytes are; the second of its halves moves the marks."""
    return _placed(batch, 0, batch.messages.height)


def _placed(whole: RawBatch, first: int, end: int) -> RawBatch:
    """The messages `first` ≤ n < `end` of a batch; without the last one they check marks, and move none."""
    messages, all_of_it = whole.messages[first:end], (first, end) == (0, whole.messages.height)
    progress = whole.progress
    if end < whole.messages.height:
        progress = tuple(replace(at, end=at.first) for at in progress if at.first is not None)
    rows = {} if all_of_it else {"rows": [first, end]}
    detail = {**_marks(progress), **rows, "sha256": _content(messages["payload"])}

    def halve() -> tuple[RawBatch, RawBatch] | None:
        middle = (first + end) // 2
        half = replace(whole, acknowledge=nothing)
        return (_placed(half, first, middle), _placed(half, middle, end)) if first < middle else None

    return replace(
        whole,
        messages=messages,
        progress=progress,
        position=Position(source=whole.dataset, detail=detail) if progress else None,
        may_repeat=True,  # a reading may begin before the last one ended
        halve=halve,
    )


def _marks(progress: tuple[Advance, ...]) -> dict[str, Any]:
    """From mark to mark: of the source, or of its parts."""
    spans = {at.part: [at.first, at.end] for at in progress}
    return {"mark": spans[""]} if spans.keys() == {""} else {"marks": spans}


def _content(payloads: pl.Series) -> str:
    return hashlib.sha256(packed(message_digests(payloads))).hexdigest()
