"""The port of a source that never ends: what a pipeline says of it, and how it is listened to.

marks ─▶ batches without end, each with the marks after it ─▶ ONE transaction each ─▶ acknowledge
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from pydantic import SecretStr

from infra.kafka import KafkaAddress
from infra.mqtt.address import MqttEndpoint
from lineage.errors import RejectedError
from tasks.batch import MESSAGE_SCHEMA, Advance, Position, RawBatch, nothing
from tasks.extract.progress import Progress, placed
from tasks.extract.source import Source
from tasks.extract.teller import Tell
from tasks.followed import Followed


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where services are: those of the settings (None), or of a named connection.

    Each raises UnavailableError for one that is not set, and SettingsError for one of another kind.
    """

    url: Callable[[str | None], SecretStr]  # of a connection of any kind
    mqtt: Callable[[str | None], MqttEndpoint]
    kafka: Callable[[str | None], KafkaAddress]
    files: Path  # below which the folders of files are


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a stream shows of itself; None: it has no such thing."""

    doing: str = "listening"
    connected: bool = True
    unacknowledged: int | None = None  # messages
    oldest: float | None = None  # of them, in seconds
    not_taken: int | None = None  # files
    sessions_lost: int = 0  # this and what follows: since it was opened
    reconnects: int = 0
    unprotected: int = 0  # messages that came at QoS 0


@dataclass(slots=True, kw_only=True)
class Listening:
    """What a stream is given, and what is asked of it, from when it is opened until it is closed."""

    pipeline: str
    dataset: str
    client_id: str  # under which a broker knows us; stable
    places: Places
    progress: Progress
    followed: Followed
    uncommitted: Callable[[Sequence[Position]], Awaitable[Sequence[bool]]]  # of each: still to be committed?
    tell: Tell
    known: bool = False  # an earlier process read as us
    leave: bool = False  # give what is kept for us, and end
    show: Callable[[], Shown] = field(default=Shown)  # set by the stream
    _marks: dict[str, str] | None = field(default=None, init=False)
    _beginnings: int = field(default=0, init=False)

    async def marks(self) -> Mapping[str, str]:
        """Part → where reading goes on: where the last batch ended, or, once overtaken, what is kept."""
        if self._marks is None:
            self._marks = dict(await self.progress.read())
            self._beginnings += 1
        return self._marks

    def batch(
        self,
        messages: pl.DataFrame,
        marks: Mapping[str, str],
        received_at: datetime,
        acknowledge: Callable[[], Awaitable[None]] = nothing,
    ) -> RawBatch:
        """Messages (MESSAGE_SCHEMA, n) received since `received_at`; `marks`: part → a new one, after them.

        Ask `self.marks()` before each. With a mark of before, two batches of the same bytes would be one
        position, and one of them lost: that raises RejectedError.
        """
        before, beginning = self._marks or {}, self._beginnings
        for part, mark in marks.items():
            if mark == before.get(part):
                raise RejectedError(
                    f"{self.dataset} gave a batch whose mark is {mark!r}, as before: mend it."
                )
        self._marks = {**before, **marks}

        async def abandon() -> None:
            if beginning == self._beginnings:  # else it was read before reading began again already
                self._marks = None

        batch = RawBatch(
            dataset=self.dataset,
            messages=messages.cast(MESSAGE_SCHEMA),
            received_at=received_at,
            received_until=datetime.now(UTC),
            progress=tuple(Advance(before.get(part), mark, part) for part, mark in marks.items()),
            acknowledge=acknowledge,
            abandon=abandon,
        )
        return placed(batch)


class Stream(Source, ABC):
    """What a pipeline says of a source that never ends."""

    @abstractmethod
    def open(self, listening: Listening) -> AbstractAsyncContextManager[AsyncIterator[RawBatch]]:
        """Its batches without end, each committed after the one before it, or abandoned.

        The last ones may be acknowledged after no more are asked for: what that needs stays open as long as
        the context. Raises RejectedError where the source refuses us for good.
        """
        ...

    def find(self, places: Places) -> None:
        """Raise UnavailableError or SettingsError, which say why it is not known where the source is."""
        if self.connection:
            places.url(self.connection)

    @property
    def writers(self) -> int:
        """How many batches are written at a time, each by a connection to Postgres."""
        return 1

    @property
    def at_once(self) -> int:
        """How many are between reading and acknowledgement: one is refined while the others are written."""
        return self.writers + 1

    @property
    def in_order(self) -> bool:
        """Whether each is committed after the one before it: of two values for a key the first stands."""
        return self.writers == 1

    @property
    def keeps_session(self) -> bool:
        """Whether a broker keeps what we miss, under our client id."""
        return False

    @property
    def has_envelope(self) -> bool:
        """Whether its messages may have what BESIDE_SCHEMA holds."""
        return False
