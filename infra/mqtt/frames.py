"""MQTT 3.1.1 packets to bytes and back, without any I/O.

The stream needs hundreds of thousands of messages a second, and an object or a callback per message
is what makes a client slow. So PUBLISH frames are found in one tight loop and kept as parallel lists;
acknowledgements are built for a whole batch at once. Section numbers are those of the OASIS standard
"MQTT Version 3.1.1" (29 October 2014).
"""

import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from lineage.errors import RejectedError

PINGREQ = b"\xc0\x00"  # 3.12
DISCONNECT = b"\xe0\x00"  # 3.14
RETAIN, DUP = 0x01, 0x08  # flags in a PUBLISH frame's first byte, 3.3.1
MAX_REMAINING_LENGTH = 268_435_455  # 2.2.3: four bytes of seven bits
SMALLEST_PUBLISH = 7  # bytes: header, length, topic of one character, packet id, no payload
_REFUSED = 0x80  # a SUBACK return code, 3.9.3
_INBOUND = {0x20: "CONNACK", 0x90: "SUBACK", 0xB0: "UNSUBACK", 0xD0: "PINGRESP"}


class MalformedFrameError(RejectedError):
    """The bytes are not MQTT 3.1.1: the connection cannot be read any further (4.8)."""


@dataclass(slots=True)
class Publishes:
    """Messages of QoS 0 and 1 in order of receipt, as parallel lists (n)."""

    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    packet_ids: list[int] = field(default_factory=list)  # 0: QoS 0, which has none
    headers: list[int] = field(default_factory=list)  # first byte of each frame: type, DUP, QoS, RETAIN
    size: int = 0  # bytes of all frames

    def __len__(self) -> int:
        return len(self.packet_ids)

    @property
    def repeated(self) -> bool:
        """Whether one may have come before: marked DUP, or retained and so sent on every subscribe."""
        return any(header & (DUP | RETAIN) for header in set(self.headers))

    @property
    def unacknowledgeable(self) -> int:
        """How many are QoS 0."""
        return self.packet_ids.count(0)

    def release(self) -> None:
        """Drop topics and payloads, which somebody else holds now; what acknowledging needs stays."""
        self.topics, self.payloads = [], []

    def extend(self, later: Self) -> None:
        self.topics += later.topics
        self.payloads += later.payloads
        self.packet_ids += later.packet_ids
        self.headers += later.headers
        self.size += later.size

    def cut(self, count: int) -> tuple["Publishes", "Publishes"]:
        """The first `count` messages, their size without the frames' headers, and the rest."""
        head, rest = (
            Publishes(self.topics[part], self.payloads[part], self.packet_ids[part], self.headers[part])
            for part in (slice(None, count), slice(count, None))
        )
        head.size = sum(map(len, head.topics)) + sum(map(len, head.payloads))
        rest.size = self.size - head.size
        return head, rest


@dataclass(frozen=True, slots=True)
class ConnAck:
    """3.2: the answer to CONNECT; return code 0 is accepted."""

    session_present: bool
    return_code: int


@dataclass(frozen=True, slots=True)
class SubAck:
    """3.9: the answer to SUBSCRIBE; `granted` is the QoS of its one filter, or 128: refused."""

    packet_id: int
    granted: int


@dataclass(frozen=True, slots=True)
class UnsubAck:
    """3.11: the answer to UNSUBSCRIBE."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class PingResp:
    """3.13: the answer to PINGREQ."""


Answer = ConnAck | SubAck | UnsubAck | PingResp


# ── to bytes ─────────────────────────────────────────────────────────────────────────────────────


def connect(
    client_id: str,
    *,
    clean_session: bool = False,
    keepalive: int = 60,
    username: str | None = None,
    password: str | None = None,
) -> bytes:
    """3.1: CONNECT without a will; `keepalive` in seconds, 1 to 65,535."""
    if password is not None and username is None:
        raise RejectedError("MQTT 3.1.1 takes no password without a user name; give both in the URL.")
    flags = (clean_session << 1) | ((password is not None) << 6) | ((username is not None) << 7)
    body = _text("MQTT") + bytes((4, flags)) + keepalive.to_bytes(2) + _text(client_id)
    for credential in (username, password):
        body += _text(credential) if credential is not None else b""
    return _frame(0x10, body)


def subscribe(packet_id: int, topic_filter: str, qos: int = 1) -> bytes:
    """3.8: SUBSCRIBE to one filter."""
    return _frame(0x82, packet_id.to_bytes(2) + _text(topic_filter) + bytes((qos,)))


def unsubscribe(packet_id: int, topic_filter: str) -> bytes:
    """3.10: UNSUBSCRIBE from one filter."""
    return _frame(0xA2, packet_id.to_bytes(2) + _text(topic_filter))


def pubacks(packet_ids: Iterable[int]) -> bytes:
    """3.4: one PUBACK per packet id in the order given; ids of 0 (QoS 0) have none."""
    ids = array("H", filter(None, packet_ids))
    words = array("H", (0x4002,)) * (2 * len(ids))
    words[1::2] = ids
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()


def _frame(header: int, body: bytes) -> bytes:
    return bytes((header,)) + remaining_length(len(body)) + body


def remaining_length(length: int) -> bytes:
    """2.2.3: seven bits a byte, least significant first."""
    if length > MAX_REMAINING_LENGTH:
        raise RejectedError(f"an MQTT packet cannot hold {length} bytes; at most {MAX_REMAINING_LENGTH}.")
    encoded = bytearray()
    while True:
        length, digit = length >> 7, length & 0x7F
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def _text(value: str) -> bytes:
    """1.5.3: two bytes of length and UTF-8."""
    encoded = value.encode()
    if len(encoded) > 65_535 or b"\x00" in encoded:
        raise RejectedError("an MQTT string holds at most 65,535 bytes and no NUL character.")
    return len(encoded).to_bytes(2) + encoded


# ── from bytes ───────────────────────────────────────────────────────────────────────────────────


class FrameSplitter:
    """Finds whole frames in a stream that is cut anywhere, and keeps the incomplete tail.

    A frame that comes in many pieces is joined once, when it is whole.
    """

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._held = 0  # bytes in the tail
        self._needed = 0  # bytes the tail's frame must have before looking again pays

    def feed(self, data: bytes) -> tuple[Publishes, list[Answer]]:
        """The messages and the other packets completed by `data`; raises MalformedFrameError."""
        publishes, answers = Publishes(), list[Answer]()
        if self._tail:
            self._tail.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return publishes, answers
            data = b"".join(self._tail)
        end, self._needed = _split(data, publishes, answers)
        self._held = len(data) - end
        self._tail = [data[end:]] if self._held else []
        return publishes, answers


def _split(data: bytes, publishes: Publishes, answers: list[Answer]) -> tuple[int, int]:
    """Append what is whole; return where the rest begins and how many bytes its frame needs at least.

    The one loop that runs once per message. It is long, and calls nothing on its way, for speed.
    """
    add_topic, add_payload = publishes.topics.append, publishes.payloads.append
    add_id, add_header = publishes.packet_ids.append, publishes.headers.append
    position, size, needed, others = 0, len(data), 2, 0
    while size - position >= 2:
        header, length, body = data[position], data[position + 1], position + 2
        if length > 127:
            if size - body >= 1 and data[body] < 0x80:  # of two bytes, as most are
                length, body = length & 0x7F | data[body] << 7, body + 1
            else:
                length, body = _long_length(data, position)
            if not body:
                needed = size - position + 1
                break
        end = body + length
        if end > size:
            needed = end - position
            break
        if 0x30 <= header < 0x40:  # 3.3 PUBLISH
            if length < 3:
                raise MalformedFrameError(f"a PUBLISH frame of {length} bytes has no topic.")
            topic = body + 2
            payload = topic_end = topic + (data[body] << 8 | data[body + 1])
            packet_id = 0
            if header & 0x06:
                payload += 2
                if header & 0x04 or payload > end:
                    raise _malformed_publish(header)
                packet_id = data[topic_end] << 8 | data[topic_end + 1]
                if not packet_id:
                    raise MalformedFrameError("a QoS 1 message has packet id 0 (2.3.1).")
            if payload > end or topic_end == topic:
                raise _malformed_publish(header)
            add_topic(data[topic:topic_end])
            add_payload(data[payload:end])
            add_id(packet_id)
            add_header(header)
        else:
            answers.append(_answer(header, data[body:end]))
            others += end - position
        position = end
    publishes.size = position - others
    return position, needed


def _long_length(data: bytes, position: int) -> tuple[int, int]:
    """A remaining length of two to four bytes and where the body begins; (0, 0) if it is not all there."""
    length = 0
    for index, digit in enumerate(data[position + 1 : position + 5]):
        length |= (digit & 0x7F) << (7 * index)
        if digit < 0x80:
            return length, position + 2 + index
    if len(data) - position >= 5:
        raise MalformedFrameError("a remaining length has more than four bytes (2.2.3).")
    return 0, 0


def _malformed_publish(header: int) -> MalformedFrameError:
    if header & 0x06 == 0x04:
        return MalformedFrameError(
            "the broker delivered a QoS 2 message to a QoS 1 subscription; the session holds an older "
            "subscription: end it, or take another client id."
        )
    return MalformedFrameError(f"a PUBLISH frame (first byte {header:#04x}) contradicts itself (3.3).")


def _answer(header: int, body: bytes) -> Answer:
    size = len(body)
    if header == 0xD0 and size == 0:
        return PingResp()
    if header == 0x20 and size == 2 and body[0] <= 1:
        return ConnAck(session_present=body[0] == 1, return_code=body[1])
    if header == 0x90 and size == 3 and body[2] in (0, 1, 2, _REFUSED):
        return SubAck(packet_id=int.from_bytes(body[:2]), granted=body[2])
    if header == 0xB0 and size == 2:
        return UnsubAck(packet_id=int.from_bytes(body))
    name = _INBOUND.get(header, "no packet that a subscriber expects")
    raise MalformedFrameError(f"a frame with first byte {header:#04x} and {size} bytes is wrong: {name}.")


def check_connack(answer: ConnAck) -> str:
    """What a return code means (3.2.2.3); empty when the connection was accepted."""
    if answer.return_code == 0:
        return ""
    reasons = {
        1: "it does not speak MQTT 3.1.1",
        2: "it does not accept the client id",
        3: "it is not ready",
        4: "the user name or password is wrong",
        5: "the user is not authorised",
    }
    return reasons.get(answer.return_code, f"it answered with return code {answer.return_code}")


def check_suback(answer: SubAck, topic_filter: str) -> None:
    """Refuse a subscription that would lose messages; raises RejectedError (3.9.3)."""
    if answer.granted == _REFUSED:
        raise RejectedError(f"the broker refused the subscription to {topic_filter}; check its access rules.")
    if answer.granted == 0:
        raise RejectedError(
            f"the broker granted {topic_filter} at QoS 0 only, which loses messages; let it allow QoS 1."
        )
