"""One TCP or TLS connection to a broker, from CONNECT to its loss.

Messages are read in bulk and wait here, in order, until they are taken as a delivery. A delivery can be
acknowledged only on this connection: after a lost session the broker counts packet ids from 1 again, and
a late acknowledgement sent elsewhere would discard a new message. That is why a delivery holds its
connection, and a new connection is a new object.

Backpressure is `pause_reading`: keep-alive is a timer of its own and goes on while reading is paused.
"""

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from infra.mqtt import frames
from infra.mqtt.address import Address
from infra.mqtt.answers import Answers
from infra.mqtt.inbox import Inbox, Read
from lineage.errors import RejectedError, UnavailableError

# One read holds at most READ_SIZE / SMALLEST_PUBLISH = 9,362 messages, so that a limit of 50,000 can never
# be overrun past 60,000: packet ids end at 65,535, and Mosquitto reuses them beyond that.
READ_SIZE = 65_536
_GOODBYE = 5.0  # seconds for the last bytes to leave
_CLOSED = "it closed the connection, as it does when another client takes over the client id, or when it ends"
_Answer = TypeVar("_Answer", frames.ConnAck, frames.SubAck, frames.UnsubAck, frames.PingResp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be received and not yet acknowledged before reading stops."""

    messages: int = 50_000
    size: int = 32 * 1024 * 1024  # bytes of frames

    def __post_init__(self) -> None:
        if not 1 <= self.messages <= 50_000 or self.size < 1:
            raise RejectedError("at most 50,000 messages may be unacknowledged (packet ids end at 65,535).")


@dataclass(slots=True)
class Numbers:
    """Counts over all connections of a session; metrics show `qos0`, `reconnects` and `sessions_lost`."""

    received: int = 0
    acknowledged: int = 0
    qos0: int = 0  # received without a way to acknowledge them
    stale_acknowledgements: int = 0  # messages whose delivering connection was gone
    connects: int = 0
    reconnects: int = 0
    sessions_lost: int = 0
    pauses: int = 0  # how often reading stopped because of the limits


@dataclass(slots=True, eq=False)
class Delivery:
    """Messages taken together, in order of receipt, and bound to the connection that delivered them."""

    connection: "Connection"
    publishes: frames.Publishes
    first_at: datetime
    last_at: datetime
    clock: float
    may_repeat: bool
    acknowledged: bool = field(default=False)

    def acknowledge(self) -> None:
        """Send the PUBACKs once all earlier deliveries are acknowledged; on a lost connection, only count."""
        self.connection.acknowledge(self)


class Connection(asyncio.BufferedProtocol):
    """Use `Connection.open`; afterwards `buffered`, `take`, `close`.

    `lost` is None while the connection stands, and then the error that says why it does not.
    What was read before the loss can still be taken.
    """

    def __init__(self, address: Address, keepalive: timedelta, limits: Limits, numbers: Numbers) -> None:
        self.address, self.limits, self.numbers = address, limits, numbers
        self.lost: UnavailableError | RejectedError | None = None
        self.received = 0  # messages on this connection
        self.unacknowledged = 0  # messages, of QoS 0 and 1, from receipt until acknowledged
        self.unacknowledged_size = 0  # bytes
        self.session_present = False
        self.repeats_until = float("-inf")  # what is read up to this time of the loop may repeat
        self._keepalive = keepalive.total_seconds()
        self._loop = asyncio.get_running_loop()
        self._space = memoryview(bytearray(READ_SIZE))
        self._splitter = frames.FrameSplitter()
        self._inbox = Inbox()
        self._taken: deque[Delivery] = deque()  # not yet acknowledged to the broker
        self._goal = (1, 1)  # messages and bytes that `buffered` and `settled` wait for
        self._reached = asyncio.Event()
        self._or_settled = False  # or for all that was taken to be acknowledged
        self._closed = asyncio.Event()
        self._answers = Answers()
        self._topic_filter = ""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._closing = False  # what still comes is left for the next connection
        self._heard = self._loop.time()  # when the broker was last heard, or reading was resumed
        self._packet_id = 0

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    @classmethod
    async def open(
        cls,
        address: Address,
        client_id: str,
        *,
        clean_session: bool = False,
        keepalive: timedelta = timedelta(seconds=60),
        context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        numbers: Numbers | None = None,
        repeat_window: timedelta = timedelta(0),
        again: bool = False,
        patience: timedelta = timedelta(seconds=10),
    ) -> "Connection":
        """Connect and be accepted.

        `again`: this process was connected before. Then, or when the broker kept a session, what comes
        within `repeat_window` may repeat. Raises UnavailableError, or RejectedError when it is for good.
        """
        loop = asyncio.get_running_loop()
        service = f"the MQTT broker {address}"
        connection: Connection | None = None
        try:
            async with asyncio.timeout(patience.total_seconds()):
                _, connection = await loop.create_connection(
                    lambda: cls(address, keepalive, limits or Limits(), numbers or Numbers()),
                    address.host,
                    address.port,
                    ssl=context,
                )
                await connection._greet(client_id, clean_session, repeat_window, again)
        except ssl.SSLCertVerificationError as error:
            reason = error.verify_message
            raise RejectedError(f"{service} is not trusted: {reason}; name its CA file.") from error
        except (OSError, RejectedError) as error:  # TimeoutError and ssl.SSLError are OSErrors
            if connection is not None:
                connection.abort("it did not complete the connection")
            if isinstance(error, RejectedError):
                raise
            hint = "Start it, or correct its URL: HEADWATER_MQTT_URL, or its connection's."
            raise UnavailableError(service, str(error) or type(error).__name__, hint) from error
        except BaseException:
            if connection is not None:
                connection.abort("the attempt was given up")
            raise
        return connection

    async def _greet(self, client_id: str, clean: bool, repeat_window: timedelta, again: bool) -> None:
        # Until CONNACK tells, everything that comes counts as a possible repeat.
        self.repeats_until = float("inf")
        packet = frames.connect(
            client_id,
            clean_session=clean,
            keepalive=round(self._keepalive),
            username=self.address.username,
            password=self.address.password,
        )
        answer = await self._request(packet, frames.ConnAck)
        assert answer is not None  # noqa: S101 - nothing is received before CONNACK
        if refusal := frames.check_connack(answer):
            if answer.return_code == 3:
                raise UnavailableError(f"the MQTT broker {self.address}", refusal)
            raise RejectedError(f"the MQTT broker {self.address} refused the connection: {refusal}.")
        self.session_present = answer.session_present
        window = repeat_window.total_seconds()
        may_repeat = answer.session_present or again
        self.repeats_until = self._loop.time() + window if may_repeat else float("-inf")
        self.numbers.connects += 1
        self._timer = self._loop.call_later(self._keepalive / 2, self._keep_alive)

    async def subscribe(self, topic_filter: str) -> None:
        """Subscribe at QoS 1; raises RejectedError if refused or granted less.

        The answer may stand behind more waiting messages than the limits let us read. Then this returns
        without it, and a refusal that comes later ends the connection: `lost` is the RejectedError.
        """
        self._topic_filter = topic_filter
        await self._request(frames.subscribe(self._next_id(), topic_filter), frames.SubAck)
        if isinstance(self.lost, RejectedError):
            raise self.lost

    def unsubscribe(self, topic_filter: str) -> None:
        """Ask for no new messages; a later `ping` tells that the broker has handled it."""
        if self._transport is not None and self.lost is None:
            self._transport.write(frames.unsubscribe(self._next_id(), topic_filter))

    async def ping(self) -> None:
        """Return when the broker has handled all we sent before, a keep-alive that is under way too."""
        await self._request(frames.PINGREQ, frames.PingResp)

    async def close(self) -> None:
        """Say goodbye; the broker keeps a persistent session and what is unacknowledged.

        A ping first: Mosquitto 2.0.11 reads no further once the socket is closed, and would send again what
        the last acknowledgements were for.
        """
        if self._transport is None or self.lost is not None:
            return
        self._closing = True
        self._regulate()
        with suppress(TimeoutError, UnavailableError):
            async with asyncio.timeout(_GOODBYE):
                await self.ping()
        self._transport.write(frames.DISCONNECT)
        self._lose("we closed the connection")
        self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._closed.wait()
        self._transport.abort()

    def abort(self, reason: str) -> None:
        """Cut the connection without a goodbye."""
        self._lose(reason)
        if self._transport is not None:
            self._transport.abort()

    # ── taking and acknowledging ─────────────────────────────────────────────────────────────────

    async def buffered(self, messages: int, size: int, within: float | None = None) -> None:
        """Wait until so many messages or bytes are here, the connection is lost, or `within` (s) is over."""
        self._goal = (messages, size)
        self._reached.clear()
        self._tell()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._reached.wait()

    async def settled(self, messages: int, size: int) -> None:
        """Wait until what was taken is acknowledged, so many messages or bytes are here, or it is lost."""
        self._or_settled = True
        try:
            await self.buffered(messages, size)
        finally:
            self._or_settled = False

    @property
    def oldest_buffered(self) -> float | None:
        """When the first message that was not taken was read, in the loop's time."""
        return self._inbox.oldest

    @property
    def oldest_unacknowledged(self) -> float | None:
        """When the first message that is not acknowledged was read, in the loop's time."""
        return self._taken[0].clock if self._taken else self.oldest_buffered

    def full(self, messages: int, size: int) -> bool:
        """Whether so many messages or bytes are here."""
        return self._inbox.messages >= messages or self._inbox.size >= size

    def take(self, messages: int, size: int) -> Delivery | None:
        """The oldest messages, as many as fit into both limits and at least one; None if there are none."""
        taken = self._inbox.take(messages, size)
        if taken is None:
            return None
        repeat = taken.publishes.repeated or taken.clock <= self.repeats_until
        delivery = Delivery(self, taken.publishes, taken.first_at, taken.last_at, taken.clock, repeat)
        self._taken.append(delivery)
        return delivery

    def acknowledge(self, delivery: Delivery) -> None:
        if delivery.acknowledged:
            return
        delivery.acknowledged = True
        publishes = delivery.publishes
        if self.lost is not None or self._transport is None:
            self.numbers.stale_acknowledgements += len(publishes) - publishes.unacknowledgeable
            return
        packet_ids: list[int] = []
        while self._taken and self._taken[0].acknowledged:  # in order of receipt: 4.6
            done = self._taken.popleft().publishes
            packet_ids += done.packet_ids
            self.unacknowledged -= len(done)
            self.unacknowledged_size -= done.size
        if packet_ids:
            acknowledgements = frames.pubacks(packet_ids)
            self._transport.write(acknowledgements)
            self.numbers.acknowledged += len(acknowledgements) // 4
            self._regulate()
        self._tell()

    # ── what asyncio calls ───────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows asyncio's type
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        if self.lost is not None:
            return
        try:
            publishes, answers = self._splitter.feed(bytes(self._space[:nbytes]))
        except frames.MalformedFrameError as error:
            self._fail(error)
            return
        for answer in answers:
            self._answered(answer)
        if len(publishes) and not self._closing:
            self._receive(publishes)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the connection was lost ({exc})" if exc else _CLOSED)
        self._closed.set()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _answered(self, answer: frames.Answer) -> None:
        self._answers.came(answer)
        if isinstance(answer, frames.SubAck):
            try:
                frames.check_suback(answer, self._topic_filter)
            except RejectedError as error:
                self._end(error)

    def _receive(self, publishes: frames.Publishes) -> None:
        count = len(publishes)
        now = datetime.now(UTC)
        self._inbox.add(Read(publishes, now, now, self._heard))
        self.received += count
        self.numbers.received += count
        self.numbers.qos0 += publishes.unacknowledgeable
        self.unacknowledged += count
        self.unacknowledged_size += publishes.size
        self._regulate()
        self._tell()

    def _regulate(self) -> None:
        """Stop or resume reading by the limits."""
        over = self.unacknowledged >= self.limits.messages or self.unacknowledged_size >= self.limits.size
        over = over and not self._closing
        if self._transport is None or over == self._paused or self.lost is not None:
            return
        self._paused = over
        if over:
            self.numbers.pauses += 1
            self._transport.pause_reading()
            self._answers.give_up(frames.SubAck)
        else:
            self._heard = self._loop.time()
            self._transport.resume_reading()

    def _tell(self) -> None:
        settled = self._or_settled and not self._taken
        if self.lost is not None or settled or self.full(*self._goal):
            self._reached.set()

    def _keep_alive(self) -> None:
        """Ping; and notice a silent broker, unless it is we who do not listen."""
        silence = self._loop.time() - self._heard
        if not self._paused and silence > 1.5 * self._keepalive:
            self.abort(f"nothing was heard for {silence:.0f} s")
            return
        if self._transport is not None:
            self._transport.write(frames.PINGREQ)
            self._answers.expect(frames.PingResp).cancel()  # it answers no `ping` of ours
        self._timer = self._loop.call_later(self._keepalive / 2, self._keep_alive)

    async def _request(self, packet: bytes, answer: type[_Answer]) -> _Answer | None:
        """Send and wait for the answer; None when it cannot be read before messages are acknowledged."""
        if self._transport is None or self.lost is not None:
            raise self.lost or UnavailableError(f"the MQTT broker {self.address}", "it is not connected")
        future = self._answers.expect(answer)
        self._transport.write(packet)
        if self._paused and answer is frames.SubAck:  # messages came with CONNACK and filled the window
            self._answers.give_up(answer)
        try:
            async with asyncio.timeout(max(10.0, self._keepalive)):
                return await future
        except TimeoutError as error:
            raise UnavailableError(f"the MQTT broker {self.address}", "it does not answer") from error

    def _fail(self, error: frames.MalformedFrameError) -> None:
        """What is not MQTT from the start is refused for good; later it is a broken connection."""
        if self._answers.expects(frames.ConnAck):
            self._end(error)
        else:
            self.abort(str(error).rstrip("."))

    def _lose(self, reason: str) -> None:
        self._note(UnavailableError(f"the MQTT broker {self.address}", reason))

    def _end(self, error: RejectedError) -> None:
        """Cut a connection that is of no use."""
        self._note(error)
        if self._transport is not None:
            self._transport.abort()

    def _note(self, error: UnavailableError | RejectedError) -> None:
        """The connection is lost, and why; only the first reason counts."""
        if self.lost is not None:
            return
        self.lost = error
        if self._timer is not None:
            self._timer.cancel()
        self._answers.fail(error)
        self._tell()

    def _next_id(self) -> int:
        self._packet_id = self._packet_id % 65_535 + 1
        return self._packet_id
