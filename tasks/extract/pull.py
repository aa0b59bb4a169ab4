"""The port of a source that is asked: what a pipeline says of it, and how it is read on from its mark.

    mark ─▶ batches, each with the mark after it ─▶ ONE transaction each, which advances the mark

It keeps nothing between two readings.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import polars as pl
from pydantic import SecretStr

from lineage.errors import RejectedError
from tasks.batch import MESSAGE_SCHEMA, Advance, RawBatch
from tasks.contract import Frozen
from tasks.extract.progress import placed
from tasks.extract.source import Source


class NoParameters(Frozen):
    """What a run is told that needs nothing but its pipeline."""


class Reading:
    """One reading of a source, from its mark to its end.

    `mark`: where it goes on, None at the beginning; it moves with each batch. `now`: UTC, by the clock of the
    store. `connect`: the URL of the source's connection; raises UnavailableError where that is not set.
    `told`: what the run was told, of the source's `run_parameters`. `robots`: the URL of each robot known.
    """

    def __init__(
        self,
        dataset: str,
        mark: str | None,
        now: Callable[[], datetime],
        connect: Callable[[], SecretStr],
        told: Any = NoParameters(),  # noqa: B008 - it is frozen
        robots: Mapping[str, str] | None = None,
    ) -> None:
        self.mark, self.now, self.connect = mark, now, connect
        self.told, self.robots = told, robots or {}
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
    """What a pipeline says of a source that is asked.

    `run_parameters`: what each run is told besides, a frozen model. A source that names one may say by the
    methods that take `told`, an instance of it, how its runs differ.
    """

    run_parameters: ClassVar[type[Frozen]] = NoParameters

    @abstractmethod
    def batches(self, reading: Reading) -> AsyncIterator[RawBatch]:
        """What is there after `reading.mark`, in the order of the source, to its end.

        Each message is one record, with the place it has there. Raises UnavailableError for what may work
        later, RejectedError for what never will.
        """
        ...

    @property
    def runs_at_once(self) -> int:
        """How many of its runs may go at the same time, ≥ 1; others wait."""
        return 1

    def check_run(self, told: Any, robots: Mapping[str, str]) -> None:
        """Raise NotFoundError or RejectedError, in one sentence, for what no run can read."""

    def dataset_of(self, _told: Any) -> str:
        """The dataset that a run reads, as a URI."""
        return self.dataset

    def scheduled_runs(self, _robots: Mapping[str, str]) -> Sequence[Frozen]:
        """What its schedule asks for: whenever it is due, one run that is told each of these."""
        return (self.run_parameters(),)

    def nothing_new(self, told: Any) -> str:
        """What a run that has read no batch says, in one sentence."""
        return f"Nothing new of {self.dataset_of(told)}."
