"""The stream in: MQTT messages gathered into micro-batches, acknowledged after their commit.

A batch is closed when it is full; or, once the batches before it are acknowledged, when its time is up or
the wire is quiet. So what comes while one is committed goes together (Nagle's algorithm, RFC 896). A slow
consumer makes the session stop reading, and the broker holds the rest. A lost connection is tried again
without end; a batch stays bound to the connection that delivered it, so acknowledging it later does no harm.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Literal

import polars as pl
import structlog
from pydantic import AfterValidator, Field, SecretStr

from infra.mqtt.address import SYSTEM, Tls
from infra.mqtt.connection import Connection, Delivery, Limits
from infra.mqtt.session import Session
from lineage import naming
from lineage.errors import RejectedError, UnavailableError
from tasks.batch import MESSAGE_SCHEMA, RawBatch
from tasks.extract.stream import Listening, Places, Shown, Stream
from tasks.pattern import Pattern, topic_filter, topic_pattern

log = structlog.get_logger(__name__)


def _is_topic(said: str) -> str:
    topic_pattern(said)
    return said


Positive = Annotated[timedelta, Field(gt=timedelta(0))]


class MqttOptions(Stream):
    """What a pipeline says of its stream, and how the stream is cut into batches."""

    type: Literal["mqtt"] = "mqtt"
    topic: Annotated[str, AfterValidator(_is_topic)] = Field(
        min_length=1, description="A topic filter; a level of it may have a name, as in tele/{device}/SENSOR"
    )
    group: str | None = Field(default=None, pattern=r"^[^/+#]+$")  # members of a group share the messages
    max_messages: int = Field(default=20_000, ge=1)  # in a batch
    max_bytes: int = Field(default=16 * 1024 * 1024, ge=1)  # in a batch; one larger message is a batch
    max_delay: Positive = timedelta(milliseconds=50)  # from a batch's first message to its end
    quiet: Positive = timedelta(milliseconds=5)  # silence that ends a batch
    max_unacknowledged: int = Field(default=50_000, ge=1, le=50_000)  # messages
    max_unacknowledged_bytes: int = Field(default=32 * 1024 * 1024, ge=1)
    repeat_window: timedelta = Field(default=timedelta(seconds=10), ge=timedelta(0))  # see Session

    @property
    def dataset(self) -> str:
        """Its name: the topic filter, without names in it."""
        return naming.mqtt(self.topic_filter, self.connection)

    @property
    def topic_filter(self) -> str:
        """What the broker is asked for."""
        return topic_filter(self.topic)

    @property
    def location_pattern(self) -> Pattern:
        """What a message's topic must fit."""
        return topic_pattern(self.topic)

    @property
    def keeps_session(self) -> bool:
        return True

    def find(self, places: Places) -> None:
        places.mqtt(self.connection)

    @asynccontextmanager
    async def open(self, listening: Listening) -> AsyncIterator[AsyncIterator[RawBatch]]:
        """Its messages; to leave, what the broker keeps for us and no more."""
        broker = listening.places.mqtt(self.connection)
        source = MqttSource(
            **self.model_dump(), url=broker.url, tls=broker.tls, client_id=listening.client_id
        )
        async with open_session(source, expected=listening.known) as session:
            listening.show = lambda: _shown(session)
            yield (drain if listening.leave else batches)(source, session, self.dataset)


class MqttSource(MqttOptions):
    """A stream and the broker it comes from."""

    url: SecretStr  # mqtt:// or mqtts://, may hold user and password
    client_id: str = Field(min_length=1)  # stable: the broker keeps the session under this name
    tls: Tls = SYSTEM
    keepalive: timedelta = Field(
        default=timedelta(seconds=60), ge=timedelta(seconds=1), le=timedelta(hours=18)
    )
    retry_delay: Positive = timedelta(milliseconds=200)  # doubles, with jitter
    max_retry_delay: Positive = timedelta(seconds=30)

    @property
    def subscription(self) -> str:
        return f"$share/{self.group}/{self.topic_filter}" if self.group else self.topic_filter


def _shown(session: Session) -> Shown:
    numbers, connection = session.numbers, session.connection
    connected = connection is not None and connection.lost is None
    return Shown(
        doing="listening" if connected else "waiting for the broker",
        connected=connected,
        unacknowledged=session.unacknowledged,
        oldest=session.oldest_unacknowledged(asyncio.get_running_loop().time()),
        sessions_lost=numbers.sessions_lost,
        reconnects=numbers.reconnects,
        unprotected=numbers.qos0,
    )


def open_session(source: MqttSource, *, expected: bool = False) -> Session:
    """The session of a source, not connected yet; `expected`: an earlier process used this client id."""
    return Session(
        source.url.get_secret_value(),
        source.client_id,
        source.subscription,
        keepalive=source.keepalive,
        limits=Limits(messages=source.max_unacknowledged, size=source.max_unacknowledged_bytes),
        repeat_window=source.repeat_window,
        tls=source.tls,
        expected=expected,
    )


async def batches(source: MqttSource, session: Session, dataset: str) -> AsyncIterator[RawBatch]:
    """Batches of the dataset (a URI), without end; the caller closes the session.

    Several may be unacknowledged at a time, as many as the limits hold; PUBACKs leave in order of receipt.
    Raises RejectedError when the broker refuses us or our subscription.
    """
    async for delivery in deliveries(source, session):
        yield batch_of(delivery, dataset)


async def deliveries(source: MqttSource, session: Session) -> AsyncIterator[Delivery]:
    """The same, as they were delivered."""
    backoff = _Backoff(source)
    while True:
        connection = await _connect(session, backoff, subscribe=True)
        while delivery := await _gather(connection, source):
            yield delivery
        if isinstance(connection.lost, RejectedError):  # the subscription's late answer
            raise connection.lost
        log.warning("mqtt connection lost", reason=str(connection.lost), client_id=source.client_id)


async def drain(
    source: MqttSource, session: Session, dataset: str, silence: timedelta = timedelta(seconds=2)
) -> AsyncIterator[RawBatch]:
    """Leave cleanly: unsubscribe, deliver what the broker still keeps, then have it forget the session.

    Ends when everything was acknowledged and nothing came for `silence`. Run it where no `batches` runs.
    """
    backoff = _Backoff(source)
    while True:
        await session.close()
        connection = await _connect(session, backoff, subscribe=False)
        connection.unsubscribe(session.topic_filter)
        try:
            while True:
                if delivery := await _gather(connection, source, silence.total_seconds()):
                    yield batch_of(delivery, dataset)
                elif connection.lost is not None:
                    raise connection.lost
                elif connection.unacknowledged == 0 and await _is_empty(connection):
                    await session.end()
                    return
        except UnavailableError as error:
            log.warning("mqtt connection lost", reason=str(error), client_id=source.client_id)


async def _is_empty(connection: Connection) -> bool:
    """Whether the broker, having handled our last acknowledgement, has nothing more for us."""
    await connection.ping()
    return connection.oldest_buffered is None


class _Backoff:
    """Growing delays between connections; a connection that held makes them small again.

    Two clients with one id throw each other out as fast as they connect: success alone is no reason to
    hurry.
    """

    def __init__(self, source: MqttSource) -> None:
        self._base = source.retry_delay.total_seconds()
        self._limit = source.max_retry_delay.total_seconds()
        self._failures = 0
        self._since = float("-inf")  # when the last connection began

    def connected(self) -> None:
        self._since = asyncio.get_running_loop().time()

    async def wait(self) -> None:
        if asyncio.get_running_loop().time() - self._since > self._limit:
            self._failures = 0
        self._since = float("inf")
        delay = min(self._limit, self._base * 2 ** min(self._failures, 30))
        self._failures += 1
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


async def _connect(session: Session, backoff: _Backoff, *, subscribe: bool) -> Connection:
    """Connect, trying again without end while the broker is away."""
    if session.numbers.connects:
        await backoff.wait()
    while True:
        try:
            connection = await session.connect(subscribe=subscribe)
        except UnavailableError as error:
            log.warning("mqtt broker away", reason=str(error), client_id=session.client_id)
            await backoff.wait()
        else:
            backoff.connected()
            return connection


async def _gather(connection: Connection, source: MqttSource, within: float | None = None) -> Delivery | None:
    """The next messages; None when the connection is lost and empty, or nothing came `within` (s)."""
    await connection.buffered(1, 1, within)
    loop = asyncio.get_running_loop()
    if (oldest := connection.oldest_buffered) is None:
        return None
    deadline = oldest + source.max_delay.total_seconds()
    quiet = source.quiet.total_seconds()
    while connection.lost is None and not connection.full(source.max_messages, source.max_bytes):
        before, left = connection.received, deadline - loop.time()
        if left <= 0:
            break
        await connection.buffered(source.max_messages, source.max_bytes, min(quiet, left))
        if connection.received == before:
            break
    await connection.settled(source.max_messages, source.max_bytes)
    return connection.take(source.max_messages, source.max_bytes)


def batch_of(delivery: Delivery, dataset: str) -> RawBatch:
    """A delivery as a batch of the dataset (a URI), which holds its topics and payloads from then on."""

    async def acknowledge() -> None:
        delivery.acknowledge()

    publishes = delivery.publishes
    payloads = pl.Series("payload", publishes.payloads, dtype=pl.Binary)
    messages = pl.DataFrame([_locations(publishes.topics), payloads], schema=MESSAGE_SCHEMA)
    publishes.release()
    return RawBatch(
        dataset=dataset,
        messages=messages,
        received_at=delivery.first_at,
        received_until=delivery.last_at,
        may_repeat=delivery.may_repeat,
        acknowledge=acknowledge,
    )


def _locations(topics: list[bytes]) -> pl.Series:
    """Topics as text; bytes that are not UTF-8, and NUL, are written as escapes (they break 1.5.3)."""
    texts = {topic: topic.decode(errors="backslashreplace").replace("\x00", "\\x00") for topic in set(topics)}
    return pl.Series("location", [texts[topic] for topic in topics], dtype=pl.String)
