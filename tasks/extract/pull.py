"""The port of a source that is asked: what a pipeline says of it, and how it is read on from its mark.

    mark ─▶ batches, each with the mark after it ─▶ ONE transaction each, which advances the mark

A class that keeps this port is a source wherever it stands: `source: {type: module:Class, …}`. What it needs
is given to it (`Reading`); it reads no settings and keeps nothing between two readings.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime

import polars as pl
from pydantic import SecretStr

from infra.connection import ConnectionName
from lineage.digest import message_digests, packed
from lineage.errors import RejectedError
from tasks.batch import MESSAGE_SCHEMA, Advance, Position, RawBatch
from tasks.contract import Frozen
from tasks.pattern import Pattern


class Reading:
    """One reading of a source, from its mark to its end.

    `mark`: where it goes on, None at the beginning; it moves with each batch. `now`: UTC, by the clock of the
    store. `connect`: the URL of the source's connection; raises UnavailableError where that is not set.
    """

    def __init__(
        self,
        dataset: str,
        mark: str | None,
        now: Callable[[], datetime],
        connect: Callable[[], SecretStr],
    ) -> None:
        self.mark, self.now, self.connect = mark, now, connect
        self._dataset = dataset

    def batch(self, messages: pl.DataFrame, mark: str, received_at: datetime) -> RawBatch:
        """A batch of messages (MESSAGE_SCHEMA, n) received since `received_at`; `mark`: a new one, after it.

        With the mark of before, two batches of the same bytes would be one position, and one of them lost.
        """
        if mark == self.mark:
            raise RejectedError(f"{self._dataset} gave a batch whose mark is {mark!r}, as before: mend it.")
        before, self.mark = self.mark, mark
        frame = messages.cast(MESSAGE_SCHEMA)
        content = hashlib.sha256(packed(message_digests(frame["payload"]))).hexdigest()
        detail = {"mark": [before, mark], "sha256": content}
        return RawBatch(
            dataset=self._dataset,
            messages=frame,
            received_at=received_at,
            received_until=self.now(),
            position=Position(source=self._dataset, detail=detail),
            progress=(Advance(before, mark),),
            may_repeat=True,  # a reading may begin before the last one ended
        )


class Pull(Frozen, ABC):
    """What a pipeline says of a source that is asked; `dataset`: its URI, of a scheme of its own."""

    type: str
    connection: ConnectionName | None = None

    @property
    @abstractmethod
    def dataset(self) -> str: ...

    @abstractmethod
    def batches(self, reading: Reading) -> AsyncIterator[RawBatch]:
        """What is there after `reading.mark`, in the order of the source, to its end.

        Each message is one record, with the place it has there. Raises UnavailableError for what may work
        later, RejectedError for what never will.
        """
        ...

    @property
    def location_pattern(self) -> Pattern | None:
        """Its records have no named parts of a place."""
        return None

    def datasets(self, _robots: Sequence[str]) -> Sequence[str]:
        """What this source gives, as URIs."""
        return (self.dataset,)

    def gives(self, dataset: str) -> bool:
        """Whether the dataset (a URI) is this source's."""
        return dataset == self.dataset
