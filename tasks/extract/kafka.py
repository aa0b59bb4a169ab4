"""A Kafka topic in: micro-batches of several partitions, read on from the offsets kept with the rows.

    group assigns partitions ─▶ start at Postgres' offsets ─▶ poll ─▶ batch ─commit advances them─▶ poll …

The group's own offsets are for those who watch its lag. After a rebalance, a crash or a batch that another
consumer overtook, reading begins again where Postgres says, so each message is committed exactly once.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

import polars as pl
import structlog
from pydantic import Field

from infra.kafka import Consumer, Polled
from lineage import naming
from lineage.errors import RejectedError, UnavailableError
from tasks.batch import BESIDE_SCHEMA, Advance, Position, RawBatch
from tasks.extract.progress import Progress
from tasks.extract.stream import Listening, Places, Shown, Stream

log = structlog.get_logger(__name__)

Positive = Annotated[timedelta, Field(gt=timedelta(0))]


class KafkaOptions(Stream):
    """What a pipeline says of its topic, and how the messages are cut into batches."""

    type: Literal["kafka"] = "kafka"
    topic: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")
    group: str | None = Field(default=None, min_length=1)  # unset: headwater-PIPELINE
    start: Literal["earliest", "latest"] = "earliest"  # of the partitions there are when it is first read
    max_messages: int = Field(default=20_000, ge=1)  # in a batch
    max_delay: Positive = timedelta(milliseconds=50)  # from a batch's first message to its end
    session_timeout: Positive = timedelta(seconds=10)  # after which a dead member's partitions are shared out

    @property
    def dataset(self) -> str:
        """Its name: the topic."""
        return naming.kafka(self.topic, self.connection)

    @property
    def named_topic(self) -> str:
        """What its messages are placed under: no topic has a colon."""
        return f"{self.connection}:{self.topic}" if self.connection else self.topic

    @property
    def has_envelope(self) -> bool:
        return True

    def find(self, places: Places) -> None:
        places.kafka(self.connection)

    @asynccontextmanager
    async def open(self, listening: Listening) -> AsyncIterator[AsyncIterator[RawBatch]]:
        """Its messages, read as a member of the pipeline's group."""
        address = listening.places.kafka(self.connection)
        group = self.group or f"headwater-{listening.pipeline}"
        consumer = Consumer(
            address, self.topic, group, listening.client_id, session_timeout=self.session_timeout
        )
        listening.show = lambda: _shown(consumer)
        try:
            async with aclosing(KafkaReader(self, consumer, listening.progress).batches()) as coming:
                yield coming
        finally:
            await asyncio.to_thread(consumer.close)


TOPIC: Final = ""
"""The part of its progress that says how the topic was begun; a partition's part is its number."""


class KafkaReader:
    """Reads one topic as a member of its group."""

    def __init__(self, options: KafkaOptions, consumer: Consumer, progress: Progress) -> None:
        self._options, self._consumer, self._progress = options, consumer, progress
        self._next: dict[int, int] = {}  # partition → the offset that comes next
        self._repeating: set[int] = set()  # partitions that were reset: what comes may have come before
        self._begun: int | None = None  # the generation that was begun
        self._beginnings = 0
        self._waiting = False  # for the brokers, which was told

    async def batches(self) -> AsyncGenerator[RawBatch, None]:
        """Batches without end; the caller closes the consumer. Raises RejectedError when we are refused.

        They are committed in this order, or abandoned; then reading begins again at the kept offsets.
        """
        options = self._options
        while True:
            if self._begun != self._consumer.generation and not await self._begin():
                continue
            wait, gather = timedelta(milliseconds=200), options.max_delay
            polled = await asyncio.to_thread(self._consumer.poll, options.max_messages, wait, gather)
            if polled.out_of_range:
                self._begun = None
            elif polled.offsets and self._begun == self._consumer.generation:
                messages = _Messages.of(options.named_topic, polled, self._next)
                self._next |= messages.ends
                yield self._batch(messages)

    async def _begin(self) -> bool:
        """Begin the partitions that are ours now; False when the brokers do not answer."""
        generation, partitions = self._consumer.generation, self._consumer.assignment
        try:
            known = await self._known()
            self._next = {
                partition: await self._start_of(partition, known) for partition in sorted(partitions)
            }
            await asyncio.to_thread(self._consumer.start_at, self._next)
        except UnavailableError as error:
            if not self._waiting:
                log.warning("kafka: waiting for the brokers", reason=str(error), topic=self._options.topic)
            self._waiting = True
            await asyncio.sleep(1)
            return False
        self._begun, self._waiting = generation, False
        self._beginnings += 1
        log.info("partitions begun", topic=self._options.topic, next=self._next)
        return True

    async def _known(self) -> Mapping[str, str]:
        """The marks; noted, the first time that the topic is read, what `start: latest` leaves out.

        That is all there is by then. It is noted for every partition at once, whoever reads it: what is
        published from now on is read.
        """
        topic, start = self._options.topic, self._options.start
        known = await self._progress.read()
        if TOPIC in known:
            return known
        ends = await asyncio.to_thread(self._consumer.ends) if start == "latest" else {}
        await self._progress.begin({TOPIC: start, **{str(each): str(end) for each, end in ends.items()}})
        log.info("topic read for the first time", topic=topic, start=start, next=ends)
        return await self._progress.read()

    async def _start_of(self, partition: int, known: Mapping[str, str]) -> int:
        """Where a partition goes on; offsets that are kept and gone are an alarm.

        One without an offset came after the start, or the start is the earliest: it begins at its first.
        """
        low, high = await asyncio.to_thread(self._consumer.watermarks, partition)
        part = str(partition)
        if part not in known:
            await self._progress.begin({part: str(low)})
            return _offset(part, await self._progress.read())
        offset = _offset(part, known)
        if low <= offset <= high:
            return offset
        # Deleted before we read them, or the topic was made anew: then what comes may have come before.
        log.error("kafka offsets are gone", partition=partition, next=offset, first=low, end=high)
        await self._progress.go_on(Advance(known[part], str(low), part))
        self._repeating.add(partition)
        return _offset(part, await self._progress.read())

    def _batch(self, messages: "_Messages") -> RawBatch:
        beginning = self._beginnings

        async def acknowledge() -> None:
            self._consumer.commit_group_offsets(messages.ends)

        async def abandon() -> None:
            if beginning == self._beginnings:  # else it was read before reading began again already
                self._begun = None

        return replace(self._of(messages, abandon), acknowledge=acknowledge)

    def _of(self, messages: "_Messages", abandon: Callable[[], Awaitable[None]]) -> RawBatch:
        def halve() -> tuple[RawBatch, RawBatch] | None:
            halves = messages.halves()
            return halves and (self._of(halves[0], abandon), self._of(halves[1], abandon))

        dataset = self._options.dataset
        detail = {str(span.partition): [span.first, span.end] for span in messages.spans}
        return RawBatch(
            dataset=dataset,
            messages=messages.frame,
            received_at=messages.first_at,
            received_until=messages.last_at,
            position=Position(
                source=dataset, detail={"topic": messages.topic, "offsets": detail}, may_recur=True
            ),
            progress=tuple(
                Advance(str(span.first), str(span.end), str(span.partition)) for span in messages.spans
            ),
            may_repeat=any(span.partition in self._repeating for span in messages.spans),
            abandon=abandon,
            halve=halve,
        )


def _shown(consumer: Consumer) -> Shown:
    connected = consumer.reason is None
    waits = "waiting for the topic" if consumer.topic_is_missing else "waiting for the broker"
    doing = "listening" if connected and not consumer.topic_is_missing else waits
    return Shown(doing=doing, connected=connected)


def _offset(part: str, marks: Mapping[str, str]) -> int:
    """Where a partition goes on; raises RejectedError where somebody wrote something else."""
    if not marks[part].isdecimal():
        raise RejectedError(
            f"store.progress says that partition {part} is read on at {marks[part]!r}, which is no offset: "
            "set it to one."
        )
    return int(marks[part])


@dataclass(frozen=True, slots=True)
class _Span:
    """Offsets of one partition: first ≤ offset < end."""

    partition: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class _Messages:
    """Messages (`RawBatch.messages`, n) by partition and offset, and the spans of offsets they fill."""

    topic: str  # with the name of its connection
    offsets: pl.DataFrame  # partition, offset (n)
    frame: pl.DataFrame
    spans: tuple[_Span, ...]
    first_at: datetime  # UTC; when the first of their poll came
    last_at: datetime

    @classmethod
    def of(cls, topic: str, polled: Polled, following: Mapping[int, int]) -> "_Messages":
        """`following`: partition → where its span begins; a log has gaps, a span has none."""
        read = pl.DataFrame(
            {"partition": polled.partitions, "offset": polled.offsets, "payload": polled.payloads},
            schema={"partition": pl.Int32, "offset": pl.Int64, "payload": pl.Binary},
        )
        read = read.with_columns(_beside(polled)).sort("partition", "offset", maintain_order=True)
        location = pl.format("{}/{}@{}", pl.lit(topic), "partition", "offset").alias("location")
        ends = read.group_by("partition", maintain_order=True).agg(pl.col("offset").last() + 1)
        spans = [_Span(partition, following[partition], end) for partition, end in ends.iter_rows()]
        frame = read.select(location, pl.exclude("partition", "offset"))
        return cls(
            topic, read.select("partition", "offset"), frame, tuple(spans), polled.first_at, polled.last_at
        )

    @property
    def ends(self) -> Mapping[int, int]:
        """Partition → the offset that comes next."""
        return {span.partition: span.end for span in self.spans}

    def halves(self) -> "tuple[_Messages, _Messages] | None":
        """The first and the second half; None when there is one message."""
        middle = self.frame.height // 2
        if not middle:
            return None
        partition, offset = self.offsets.row(middle)
        before = [span for span in self.spans if span.partition < partition]
        (cut,) = (span for span in self.spans if span.partition == partition)
        after = [span for span in self.spans if span.partition > partition]
        if self.offsets.row(middle - 1)[0] == partition:
            before.append(_Span(partition, cut.first, offset))
            cut = _Span(partition, offset, cut.end)
        return (
            replace(self, offsets=self.offsets[:middle], frame=self.frame[:middle], spans=tuple(before)),
            replace(self, offsets=self.offsets[middle:], frame=self.frame[middle:], spans=(cut, *after)),
        )


def _beside(polled: Polled) -> Iterator[pl.Series]:
    """What some message of a poll has beside its bytes (BESIDE_SCHEMA, n)."""
    if any(key is not None for key in polled.keys):
        yield pl.Series("key", polled.keys, BESIDE_SCHEMA["key"])
    if any(polled.headers):
        held = [
            [{"name": name, "value": value} for name, value in each] if each else None
            for each in polled.headers
        ]
        yield pl.Series("headers", held, BESIDE_SCHEMA["headers"])
    times = pl.Series("sent_at", polled.sent, pl.Int64)
    if times.null_count() < times.len():
        yield times.cast(pl.Datetime("ms", "UTC")).cast(BESIDE_SCHEMA["sent_at"])
