"""The port of a source that is asked: what a pipeline says of it, and how it is read on from its mark.

    mark ─▶ batches, each with the mark after it ─▶ ONE transaction each, which advances the mark

It keeps nothing between two readings.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import polars as pl
from pydantic import SecretStr

from lineage.errors import RejectedError
from tasks.batch import MESSAGE_SCHEMA, Advance, RawBatch
from tasks.extract.progress import placed
from tasks.extract.source import Source


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
        batch = RawBatch(
            dataset=self._dataset,
            messages=messages.cast(MESSAGE_SCHEMA),
            received_at=received_at,
            received_until=self.now(),
            progress=(Advance(before, mark),),
        )
        return placed(batch)


class Pull(Source, ABC):
    """What a pipeline says of a source that is asked."""

    @abstractmethod
    def batches(self, reading: Reading) -> AsyncIterator[RawBatch]:
        """What is there after `reading.mark`, in the order of the source, to its end.

        Each message is one record, with the place it has there. Raises UnavailableError for what may work
        later, RejectedError for what never will.
        """
        ...
