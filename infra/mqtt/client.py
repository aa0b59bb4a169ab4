"""paho, for what is rare: publishing, and notices that something changed. The stream does not go through it.

The one place that imports paho. Its network thread speaks to us by `call_soon_threadsafe` only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from itertools import islice
from types import TracebackType
from typing import Any, Self

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from infra.mqtt.address import SYSTEM, Address, Tls
from lineage.errors import HeadwaterError, RejectedError, UnavailableError

log = structlog.get_logger(__name__)

Message = tuple[str, bytes]  # topic, payload
_PASSING = {"Server unavailable", "Server busy", "Connection rate exceeded", "Quota exceeded"}


class _Link:
    """A paho client and its network thread, seen from the event loop; reconnects by itself."""

    def __init__(
        self,
        url: str,
        client_id: str,
        version: MQTTProtocolVersion,
        tls: Tls,
        patience: timedelta,
    ) -> None:
        self.address = Address.parse(url)
        self.service = f"the MQTT broker {self.address}"
        self.connected = False
        self.connects = 0
        self.patience = patience.total_seconds()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version)
        self.client.reconnect_delay_set(1, 30)
        if self.address.username is not None:
            self.client.username_pw_set(self.address.username, self.address.password)
        if (context := self.address.context(tls)) is not None:
            self.client.tls_set_context(context)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.on_connected: Callable[[], None] = lambda: None  # called in the event loop
        self.on_refused: Callable[[RejectedError], None] = lambda _: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Future[None] | None = None
        self._stopping = False

    async def start(self, keepalive: timedelta = timedelta(seconds=60), **options: Any) -> None:
        """Connect and be accepted; raises UnavailableError or RejectedError."""
        self._loop = asyncio.get_running_loop()
        self._ready = self._loop.create_future()
        client, address, seconds = self.client, self.address, round(keepalive.total_seconds())
        client.connect_timeout = self.patience
        try:
            await asyncio.to_thread(client.connect, address.host, address.port, seconds, **options)
            client.loop_start()
            async with asyncio.timeout(self.patience):
                await self._ready
        except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
            await self.stop()
            hint = "Start it, or correct its URL: HEADWATER_MQTT_URL, or its connection's."
            raise UnavailableError(self.service, str(error) or "it does not answer", hint) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        self._stopping = True
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """From the network thread: run a function in the event loop."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _on_connect(
        self,
        client: Client,
        data: object,
        flags: ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if not code.is_failure:
            self.call(self._accepted)
        elif str(code) in _PASSING:
            self.call(self._refused, UnavailableError(self.service, str(code)))
        else:
            sentence = f"{self.service} refused the connection: {code}; check user, password and client id."
            self.call(self._refused, RejectedError(sentence))

    def _on_disconnect(
        self,
        client: Client,
        data: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        # Before MQTT 5 a broker tells no reason, and paho says "Unspecified error".
        lost = code.is_failure and not flags.is_disconnect_packet_from_server
        self.call(self._left, "the connection was lost" if lost else str(code))

    def _accepted(self) -> None:
        self.connected = True
        self.connects += 1
        self.on_connected()
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _refused(self, error: HeadwaterError) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        elif isinstance(error, RejectedError):
            self.on_refused(error)

    def _left(self, reason: str) -> None:
        if self.connected:
            level = log.debug if self._stopping else log.info
            level("mqtt disconnected", broker=str(self.address), reason=reason)
        self.connected = False


class Publisher:
    """Publishes at QoS 1 and waits for the broker's PUBACKs: `async with Publisher(url) as publisher:`.

    What was not acknowledged when the connection broke is sent again by paho on the next one, so a message
    can arrive twice. `in_flight`: how many may wait for their PUBACK; `patience`: how long for a batch of
    that many. Raises UnavailableError when that is over.
    """

    def __init__(
        self,
        url: str,
        client_id: str = "",
        *,
        in_flight: int = 1_000,
        patience: timedelta = timedelta(seconds=30),
        tls: Tls = SYSTEM,
    ) -> None:
        self._link = _Link(url, client_id, MQTTProtocolVersion.MQTTv311, tls, patience)
        # Unlimited: we bound it ourselves. With a limit, paho walks through all in flight at each PUBACK.
        self._link.client.max_inflight_messages_set(0)
        self._link.client.on_publish = self._on_publish
        self._in_flight = in_flight
        self._sent, self._answered = 0, 0
        self._done = asyncio.Event()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._link.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.stop()

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish one message; at QoS 1 the broker has it on return, at QoS 0 it has left."""
        async with self._turn:
            await self._publish([(topic, payload)], qos, retain)

    async def publish_many(self, messages: Iterable[Message]) -> int:
        """Publish all at QoS 1 in order; how many the broker has on return: all of them."""
        count = 0
        remaining = iter(messages)
        async with self._turn:
            while chunk := list(islice(remaining, self._in_flight)):
                await self._publish(chunk, 1, False)
                count += len(chunk)
        return count

    async def _publish(self, messages: list[Message], qos: int, retain: bool) -> None:
        self._done.clear()
        for topic, payload in messages:
            try:
                info = self._link.client.publish(topic, payload, qos, retain)
            except ValueError as error:
                raise RejectedError(f"a message to {topic[:100]!r} cannot be published: {error}.") from error
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS and qos == 0:
                raise UnavailableError(self._link.service, "the connection is lost")
            self._sent += 1
        self._check()
        try:
            async with asyncio.timeout(self._link.patience):
                await self._done.wait()
        except TimeoutError as error:
            missing = self._sent - self._answered
            reason = f"{missing} messages were not acknowledged in {self._link.patience:.0f} s"
            raise UnavailableError(self._link.service, reason) from error

    def _on_publish(
        self, client: Client, data: object, mid: int, code: ReasonCode, properties: Properties
    ) -> None:
        self._answered += 1  # only the network thread writes it
        if self._answered >= self._sent:
            self._link.call(self._check)

    def _check(self) -> None:
        if self._answered >= self._sent:
            self._done.set()


async def publish_many(url: str, messages: Iterable[Message], *, in_flight: int = 1_000) -> int:
    """Connect, publish all of them at QoS 1, disconnect; how many the broker has."""
    async with Publisher(url, in_flight=in_flight) as publisher:
        return await publisher.publish_many(messages)


async def end_session(
    url: str, client_id: str, *, patience: timedelta = timedelta(seconds=10), tls: Tls = SYSTEM
) -> None:
    """Have the broker forget a client id, and all that it keeps for it.

    Raises UnavailableError or RejectedError.
    """
    link = _Link(url, client_id, MQTTProtocolVersion.MQTTv5, tls, patience)
    await link.start(clean_start=True)  # without an expiry the session ends with its connection
    await link.stop()


class Subscriber:
    """Notices: `async with Subscriber(…) as notices: async for topic, payload in notices`; MQTT 5, QoS 1.

    It reconnects by itself, and its session is kept for `expiry`, so that what came while it was away comes
    later, and a notice can come twice. A message counts as delivered once it is in our queue: fit for
    notices, which say only that something changed, not for data. When the queue is full the oldest is
    dropped and counted in `dropped`; the first time it is logged.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        topic_filters: Iterable[str],
        *,
        keepalive: timedelta = timedelta(seconds=30),
        expiry: timedelta = timedelta(days=1),
        queue_size: int = 10_000,
        patience: timedelta = timedelta(seconds=10),
        tls: Tls = SYSTEM,
    ) -> None:
        self.dropped = 0
        self._filters = list(topic_filters)
        self._keepalive, self._expiry = keepalive, expiry
        self._queue: asyncio.Queue[Message | RejectedError] = asyncio.Queue(queue_size)
        self._granted: asyncio.Future[None] | None = None
        self._refused: RejectedError | None = None  # the last in the queue: nothing comes after it
        self._link = _Link(url, client_id, MQTTProtocolVersion.MQTTv5, tls, patience)
        self._link.client.on_message = self._on_message
        self._link.client.on_subscribe = self._on_subscribe
        self._link.on_connected = self._subscribe
        self._link.on_refused = self._put

    @property
    def connected(self) -> bool:
        return self._link.connected

    @property
    def reconnects(self) -> int:
        """Each may have cost a notice, if the broker did not keep the session."""
        return max(0, self._link.connects - 1)

    async def __aenter__(self) -> Self:
        """Connect and subscribe; raises UnavailableError or RejectedError."""
        self._granted = asyncio.get_running_loop().create_future()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.SessionExpiryInterval = round(self._expiry.total_seconds())
        await self._link.start(self._keepalive, clean_start=False, properties=properties)
        try:
            async with asyncio.timeout(self._link.patience):
                await self._granted
        except TimeoutError as error:
            await self._link.stop()
            raise UnavailableError(self._link.service, "it did not answer the subscription") from error
        except BaseException:
            await self._link.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.stop()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Without end; raises RejectedError when the broker refuses us on a later connection."""
        while True:
            message = await self._queue.get()
            if isinstance(message, RejectedError):
                raise message
            yield message

    def _subscribe(self) -> None:
        self._link.client.subscribe([(topic_filter, 1) for topic_filter in self._filters])

    def _on_subscribe(
        self, client: Client, data: object, mid: int, codes: list[ReasonCode], properties: Properties
    ) -> None:
        refused = [
            name
            for name, code in zip(self._filters, codes, strict=False)
            if code.is_failure or not code.value
        ]
        self._link.call(self._answered, refused)

    def _answered(self, refused: list[str]) -> None:
        error = RejectedError(
            f"the broker refused {', '.join(refused)}, or granted it at QoS 0; check its access rules."
        )
        if self._granted is not None and not self._granted.done():
            if refused:
                self._granted.set_exception(error)
            else:
                self._granted.set_result(None)
        elif refused:
            self._put(error)

    def _on_message(self, client: Client, data: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # in paho's thread, which it would end
            log.warning("a notice is left out: its topic is not UTF-8", broker=self._link.service)
            return
        self._link.call(self._put, (topic, message.payload))

    def _put(self, message: Message | RejectedError) -> None:
        if self._refused is not None:
            return
        if isinstance(message, RejectedError):
            self._refused = message
        if self._queue.full():
            if not self.dropped:
                log.warning(
                    "notices dropped: they come faster than they are taken", broker=self._link.service
                )
            self._queue.get_nowait()
            self.dropped += 1
        self._queue.put_nowait(message)
